"""QM9: the small organic molecules of the paper."""

import importlib.util
import logging
import os

import pyarrow as pa

import datasets
from discrete_diffusion.datasets.files import check_columns, read_file

COLUMNS = ("canonical_smiles", "qed", "ring_count")

logger = logging.getLogger(__name__)


def qm9(path: str | os.PathLike[str] | None = None, *, name: str = "yairschiff/qm9") -> datasets.Dataset:
    """Returns QM9 with the columns `canonical_smiles`, `qed` and `ring_count`, and whatever else there is.

    The molecules of up to 9 heavy atoms of Ramakrishnan et al., Scientific Data 1, 140022 (2014). Where a file has no
    `qed` or `ring_count`, RDKit computes them from the SMILES.

    Args:
        path: a CSV, TSV, JSON, JSON-lines or Parquet file to read instead of the data set `name` of the Hugging Face
            hub.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file cannot be read or has no column `canonical_smiles`.
        ConnectionError: if there is no `path` and the hub cannot be reached.
    """
    if path is None:
        return _from_hub(name)
    rows = read_file(path, text=["canonical_smiles"])
    check_columns(rows, ["canonical_smiles"], path)
    return datasets.Dataset(datasets.table.InMemoryTable(_with_properties(rows)))


def _from_hub(name: str) -> datasets.Dataset:
    try:
        rows = datasets.load_dataset(name, split="train")
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConnectionError(
            f"`{name}` cannot be read from the Hugging Face hub ({reason}): "
            "pass a local CSV, JSON or Parquet file as `path` (`data.path=` on the command line)."
        ) from error
    check_columns(rows.data.table, COLUMNS, name)
    return rows


def _with_properties(rows: pa.Table) -> pa.Table:
    missing = [column for column in COLUMNS[1:] if column not in rows.column_names]
    if not missing:
        return rows
    if importlib.util.find_spec("rdkit") is None:
        raise ImportError(f"{' and '.join(missing)} can be computed with `discrete-diffusion-datasets[rdkit]` only.")
    from discrete_diffusion.datasets.molecule_properties import molecule_properties

    logger.info("Computing %s with RDKit.", " and ".join(missing))
    qed, ring_count = zip(*map(molecule_properties, rows.column("canonical_smiles").to_pylist()), strict=True)
    computed = {"qed": pa.array(qed), "ring_count": pa.array(ring_count)}
    for column in missing:
        rows = rows.append_column(column, computed[column])
    return rows
