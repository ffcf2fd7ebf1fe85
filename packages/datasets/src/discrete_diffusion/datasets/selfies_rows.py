"""Molecules as SELFIES."""

import importlib.util
import inspect
import logging
import os
from collections.abc import Callable
from typing import TypeAlias

import pyarrow as pa

import datasets
from discrete_diffusion.datasets.derived_columns import derived_columns
from discrete_diffusion.datasets.files import check_columns
from discrete_diffusion.datasets.selfies_tokenizer import selfies_symbols

logger = logging.getLogger(__name__)

Rows: TypeAlias = datasets.Dataset | datasets.DatasetDict


def selfies_rows(
    source: Callable[..., Rows], path: str | os.PathLike[str] | None = None, *, column: str = "canonical_smiles"
) -> Rows:
    """Return the rows of `source` with their molecules as SELFIES, in a further column `selfies`.

    SELFIES (Krenn et al., Machine Learning: Science and Technology 1, 045024, 2020; arXiv 1905.13741) is a language in
    which every sequence of symbols is a molecule with correct valences. Rows with molecules that it cannot express,
    such as those with more bonds than it allows, are left out, and their number is logged.

    Args:
        source: Source of molecules, such as `molecules`, `qm9` or `zinc250k`.
        path: Argument `path` of `source`; None if it takes none.
        column: Column of SMILES.

    Raises:
        ValueError: If `source` takes no `path`, has no such column, or none of its molecules can be expressed.
        ImportError: If `selfies` is not installed.
    """
    if importlib.util.find_spec("selfies") is None:
        raise ImportError("`selfies_rows` needs SELFIES: install `discrete-diffusion-datasets[selfies]`.")
    if path is not None and "path" not in inspect.signature(source).parameters:
        raise ValueError("Expected no `path`: this source reads no file.")
    rows = source() if path is None else source(path=path)
    if isinstance(rows, datasets.DatasetDict):
        return datasets.DatasetDict({split: _written(part, column) for split, part in rows.items()})
    return _written(rows, column)


def selfies_to_smiles(string: str) -> str | None:
    """Return the molecule of a SELFIES string as SMILES, not necessarily canonical; None if it is no molecule.

    A string with other symbols, such as a special token, is no molecule, although the decoder of the `selfies` package
    ignores some of them.
    """
    import selfies

    try:
        selfies_symbols(string)
        return selfies.decoder(string) or None
    except (ValueError, selfies.DecoderError):
        return None


def _written(rows: datasets.Dataset, column: str) -> datasets.Dataset:
    import selfies

    def write(smiles: str) -> dict[str, str | None]:
        try:
            return {"selfies": selfies.encoder(smiles)}
        except selfies.EncoderError:
            return {"selfies": None}

    table = rows.with_format("arrow")[:].replace_schema_metadata(None)
    check_columns(table, [column], "the source")
    smiles = table.column(column).to_pylist()
    made = derived_columns(smiles, write, name="selfies", version=selfies.__version__).column("selfies")
    if made.null_count == len(made):
        raise ValueError(f"Expected molecules that SELFIES can write in {column!r}, got none.")
    if made.null_count:
        logger.warning("%d of %d molecules cannot be written as SELFIES and are left out.", made.null_count, len(made))
    kept = [name for name in table.column_names if name != "selfies"]
    table = table.select(kept).append_column("selfies", made.cast(pa.string()))
    # In one piece, so that what is computed of it and kept is found again, wherever the column came from.
    return datasets.Dataset(datasets.table.InMemoryTable(table.filter(made.is_valid()).combine_chunks()))
