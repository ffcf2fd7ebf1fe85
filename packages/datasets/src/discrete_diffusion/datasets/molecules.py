"""The embedded default data: small organic molecules, generated where they are needed."""

import hashlib
import importlib.util
import inspect
import logging
import os
from functools import partial
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet
from tqdm import tqdm

import datasets
from discrete_diffusion.datasets.cache import cache_folder, keep
from discrete_diffusion.datasets.smiles_tokenizer import smiles_symbols

MAX_TOKENS = 22
LARGEST = 10_000_000
"""Molecules whose generation takes hours."""
_FRUITLESS = 20_000

logger = logging.getLogger(__name__)


def molecules(
    size: int = 20_000, seed: int = 0, cache_dir: str | os.PathLike[str] | None = None, *, progress: bool = True
) -> datasets.Dataset:
    """Returns `size` distinct molecules of 6 to 9 heavy atoms (C, N, O, F), made by random growth.

    Columns: `canonical_smiles` (RDKit's, without stereochemistry, at most 22 tokens), `qed` and `ring_count`. The
    molecules depend on `seed` and on the RDKit version alone, and the first n of a larger set are the set of size n.
    They are made once (about 15 seconds for 20,000) and cached as Parquet. QM9's are as small, with more rings.

    Args:
        cache_dir: where to keep them; otherwise the environment variable DISCRETE_DIFFUSION_CACHE, otherwise the user's
            cache folder.
        progress: whether to show a progress bar, on a terminal.

    Raises:
        ValueError: if `size` is not positive, or more than the generator can find.
        ImportError: if RDKit is not installed.
    """
    if not 1 <= size <= LARGEST:
        raise ValueError(f"Expected 1 <= `size` <= {LARGEST:,}, got {size}.")
    if importlib.util.find_spec("rdkit") is None:
        raise ImportError("`molecules` needs RDKit: install `discrete-diffusion-datasets[rdkit]`.")
    path = cache_folder(cache_dir) / f"molecules-{size}-{seed}-{_fingerprint()}.parquet"
    rows = _read(path, size)
    if rows is None:
        rows = _generate(size, seed, progress)
        keep(path, partial(pa.parquet.write_table, rows))
    return datasets.Dataset(datasets.table.InMemoryTable(rows))


def _fingerprint() -> str:
    import rdkit

    from discrete_diffusion.datasets import molecule_generator, molecule_properties

    digest = hashlib.sha256(rdkit.__version__.encode())
    for module in (molecule_generator, molecule_properties):
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()[:12]


def _generate(size: int, seed: int, progress: bool) -> pa.Table:
    from rdkit import Chem

    from discrete_diffusion.datasets.molecule_generator import grow
    from discrete_diffusion.datasets.molecule_properties import molecule_properties

    rng = Random(seed)
    found: dict[str, tuple[float, int]] = {}
    fruitless = 0
    with tqdm(total=size, desc="Generating molecules", unit=" molecules", disable=None if progress else True) as bar:
        while len(found) < size:
            molecule = grow(rng)
            smiles = Chem.MolToSmiles(molecule) if molecule is not None else ""
            if not smiles or smiles in found or len(smiles_symbols(smiles)) > MAX_TOKENS:
                fruitless += 1
                if fruitless > _FRUITLESS:
                    raise ValueError(f"Expected a smaller `size`: after {len(found)} molecules no new one is found.")
                continue
            found[smiles] = molecule_properties(smiles)
            fruitless = 0
            bar.update()
    qed, ring_count = zip(*found.values(), strict=True)
    return pa.table({"canonical_smiles": list(found), "qed": list(qed), "ring_count": list(ring_count)})


def _read(path: Path, size: int) -> pa.Table | None:
    if not path.exists():
        return None
    try:
        rows = pa.parquet.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        logger.warning("Generating the molecules again: %s cannot be read (%s).", path, error)
        return None
    if rows.num_rows != size or rows.column_names != ["canonical_smiles", "qed", "ring_count"]:
        logger.warning("Generating the molecules again: %s does not hold what it should.", path)
        return None
    return rows
