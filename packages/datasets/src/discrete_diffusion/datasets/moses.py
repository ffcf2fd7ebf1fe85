"""MOSES: drug-like molecules with a scaffold split."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute

import datasets
from discrete_diffusion.datasets.archives import is_archive, member_names
from discrete_diffusion.datasets.files import find_column, read_table
from discrete_diffusion.datasets.molecule_rows import NAMES, molecule_rows

PARTS = {"train": "train", "test": "validation", "test_scaffolds": "test_scaffolds"}
"""Parts of the data set by the names in its files, and the names that they get."""
_EXPECTED = "dataset_v1.csv, a folder of train.csv, test.csv and test_scaffolds.csv, or the wheel molsets-0.3.1"


def moses(path: str | Path) -> datasets.DatasetDict:
    """Return MOSES: `train`, `validation` (its test set) and `test_scaffolds`, those that are there.

    The 1,936,962 molecules of ZINC of Polykovskiy et al., Frontiers in Pharmacology 11, 565644 (2020): 1,584,663 to
    train on, 176,074 test molecules, and 176,225 with scaffolds that the others do not have. RDKit computes
    `canonical_smiles`, `qed` and `ring_count` once, and the cache folder keeps them.

    Args:
        path: `dataset_v1.csv` with its column SPLIT (github.com/molecularsets/moses); a folder or an archive with
            train.csv and test.csv and perhaps test_scaffolds.csv, each plain or .gz, such as the wheel
            `molsets-0.3.1-py3-none-any.whl` (`pip download --no-deps molsets==0.3.1`).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else; single invalid SMILES are marked in `drop_reason`.
        ImportError: If RDKit is not installed.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"Expected {_EXPECTED}, but {path} does not exist.")
    tables = _files(path) if path.is_dir() or is_archive(path) else _split(path)
    missing = [part for part in ("train", "test") if part not in tables]
    if missing:
        raise ValueError(f"Expected {_EXPECTED}, but {path} has no part {' and no '.join(map(repr, missing))}.")
    return datasets.DatasetDict({PARTS[part]: molecule_rows(rows, path) for part, rows in tables.items()})


def _files(path: Path) -> dict[str, pa.Table]:
    names = [file.name for file in path.iterdir()] if path.is_dir() else member_names(path)
    found: dict[str, pa.Table] = {}
    for part in PARTS:
        for name in names:
            if Path(name).name in (f"{part}.csv", f"{part}.csv.gz"):
                found[part] = read_table(path / name, names=NAMES).data.table
    return found


def _split(path: Path) -> dict[str, pa.Table]:
    rows = read_table(path, names=NAMES, text=["split"]).data.table
    split = rows.column(find_column(rows.column_names, "SPLIT", origin=path))
    parts = {part: rows.filter(pa.compute.equal(split, part)) for part in PARTS}
    return {part: table.combine_chunks() for part, table in parts.items() if table.num_rows}
