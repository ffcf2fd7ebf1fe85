"""Canonical SMILES and their properties, computed if a table lacks them."""

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

import datasets
from discrete_diffusion.datasets.derived_columns import derived_columns
from discrete_diffusion.datasets.files import find_column, mark_rows

COLUMNS = ("canonical_smiles", "qed", "ring_count")
NAMES = ("canonical_smiles", "smiles")
_NAMES = {"qed": "qed", "logp": "logp", "ring_count": "ring_count"}


def molecule_rows(rows: pa.Table, origin: object) -> datasets.Dataset:
    """Return a table of molecules with the columns `canonical_smiles`, `qed` and `ring_count` in front.

    RDKit computes those that are missing. Rows that RDKit cannot read are marked in `drop_reason`.

    Raises:
        ValueError: If there is no column of SMILES, or no valid SMILES.
        ImportError: If there is something to compute, and RDKit is not installed.
    """
    rows = rows.replace_schema_metadata(None)
    written = find_column(rows.column_names, None, NAMES, origin=origin)
    smiles = [(one or "").strip() for one in rows.column(written).to_pylist()]
    rows = rows.rename_columns(
        [name if name == written else _NAMES.get(name.lower(), name) for name in rows.column_names]
    )
    rows = rows.drop_columns([written]).add_column(0, "canonical_smiles", pa.array(smiles, pa.string()))
    missing = [column for column in COLUMNS[1:] if column not in rows.column_names]
    computed = missing if written == "canonical_smiles" else [COLUMNS[0], *missing]
    if computed:
        made = _computed(smiles, tuple(computed))
        valid = made.column(computed[0]).is_valid().to_pylist()
        if not any(valid):
            raise ValueError(f"Expected valid SMILES in {origin}, got {smiles[0]!r}.")
        for column in computed:
            rows = rows.drop_columns([column]) if column in rows.column_names else rows
            rows = rows.append_column(column, made.column(column))
        invalid = [i for i, ok in enumerate(valid) if not ok and smiles[i]]
        blank = [i for i, one in enumerate(smiles) if not one]
        reason = f"not valid SMILES ({smiles[invalid[0]]!r})" if invalid else ""
        rows = mark_rows(rows, {**dict.fromkeys(blank, "no SMILES"), **dict.fromkeys(invalid, reason)})
    rows = rows.select([*COLUMNS, *(column for column in rows.column_names if column not in COLUMNS)])
    return datasets.Dataset(datasets.table.InMemoryTable(rows))


def _computed(smiles: list[str], columns: tuple[str, ...]) -> pa.Table:
    if importlib.util.find_spec("rdkit") is None:
        raise ImportError(f"{', '.join(columns)} can be computed with `discrete-diffusion-datasets[rdkit]` only.")
    import rdkit
    from rdkit import Chem, rdBase
    from rdkit.Chem import QED

    properties: Mapping[str, Callable[[Any], Any]] = {
        "canonical_smiles": Chem.MolToSmiles,
        "qed": QED.qed,
        "ring_count": lambda molecule: molecule.GetRingInfo().NumRings(),
    }

    def compute(one: str) -> Mapping[str, Any]:
        molecule = Chem.MolFromSmiles(one) if one else None
        if molecule is None:
            return dict.fromkeys(columns)
        return {column: properties[column](molecule) for column in columns}

    with rdBase.BlockLogs():
        version = f"{columns} {rdkit.__version__}"
        return derived_columns(smiles, compute, name="properties of molecules", version=version)
