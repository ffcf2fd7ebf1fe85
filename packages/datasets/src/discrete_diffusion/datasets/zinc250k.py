"""ZINC250k: molecules of the size of drugs."""

import importlib.util
import os
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

import datasets
from discrete_diffusion.datasets.derived_columns import derived_columns
from discrete_diffusion.datasets.files import check_columns, read_file
from discrete_diffusion.datasets.hub import from_hub

COLUMNS = ("canonical_smiles", "qed", "ring_count")
_NAMES = {"smiles": "smiles", "qed": "qed", "logp": "logp"}
_SMILES = ("smiles", "canonical_smiles")


def zinc250k(
    path: str | os.PathLike[str] | None = None, *, name: str = "yairschiff/zinc250k"
) -> datasets.Dataset | datasets.DatasetDict:
    """Returns ZINC250k with the columns `canonical_smiles`, `qed` and `ring_count`, and `logp` where it is given.

    The 249,455 molecules of up to 38 heavy atoms, drawn at random from ZINC's drug-like ones, of Gómez-Bombarelli et
    al., ACS Central Science 4, 268-276 (2018). Their file, `250k_rndm_zinc_drugs_clean_3.csv`, has the columns
    `smiles`, `logP`, `qed` and `SAS`; any table with `smiles` or `canonical_smiles` will do. What is missing RDKit
    computes from the SMILES, once: it takes about a minute, and is kept in the cache folder. Stereochemistry stays.

    Args:
        path: a CSV, TSV, JSON, JSON-lines or Parquet file to read instead of the data set `name` of the Hugging Face
            hub, whose own split into training and validation is kept.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file cannot be read, has no SMILES, or one that is not valid.
        ConnectionError: if there is no `path` and the hub cannot be reached.
        ImportError: if there is something to compute, and RDKit is not installed.
    """
    if path is not None:
        return _dataset(read_file(path, text=_SMILES), path)
    found = from_hub(name, "a local CSV, JSON or Parquet file")
    parts = {split: _dataset(rows.with_format("arrow")[:], name) for split, rows in found.items()}
    return datasets.DatasetDict(parts) if {"train", "validation"} <= set(parts) else parts["train"]


def _dataset(rows: pa.Table, origin: object) -> datasets.Dataset:
    rows = rows.replace_schema_metadata(None)
    rows = rows.rename_columns([_NAMES.get(column.lower(), column) for column in rows.column_names])
    written = "canonical_smiles" if "canonical_smiles" in rows.column_names else "smiles"
    check_columns(rows, [written], origin)
    if rows.column(written).null_count:
        raise ValueError(f"Expected SMILES in every row of {origin}, but {rows.column(written).null_count} have none.")
    smiles = [one.strip() for one in rows.column(written).to_pylist()]
    rows = rows.drop_columns([written]).add_column(0, "canonical_smiles", pa.array(smiles, pa.string()))
    missing = [column for column in COLUMNS[1:] if column not in rows.column_names]
    computed = missing if written == "canonical_smiles" else [COLUMNS[0], *missing]
    if computed:
        made = _computed(smiles, tuple(computed), origin)
        for column in computed:
            rows = rows.drop_columns([column]) if column in rows.column_names else rows
            rows = rows.append_column(column, made.column(column))
    rows = rows.select([*COLUMNS, *(column for column in rows.column_names if column not in COLUMNS)])
    return datasets.Dataset(datasets.table.InMemoryTable(rows))


def _computed(smiles: list[str], columns: tuple[str, ...], origin: object) -> pa.Table:
    if importlib.util.find_spec("rdkit") is None:
        raise ImportError(f"{', '.join(columns)} can be computed with `discrete-diffusion-datasets[rdkit]` only.")
    import rdkit
    from rdkit import Chem
    from rdkit.Chem import QED

    properties: Mapping[str, Callable[[Any], Any]] = {
        "canonical_smiles": Chem.MolToSmiles,
        "qed": QED.qed,
        "ring_count": lambda molecule: molecule.GetRingInfo().NumRings(),
    }

    def compute(one: str) -> Mapping[str, Any]:
        molecule = Chem.MolFromSmiles(one) if one else None
        if molecule is None:
            raise ValueError(f"Expected valid SMILES in {origin}, got {one!r}.")
        return {column: properties[column](molecule) for column in columns}

    return derived_columns(smiles, compute, name="properties of molecules", version=f"{columns} {rdkit.__version__}")
