"""Rows of molecules in another notation."""

import inspect
import os
from collections.abc import Callable
from typing import TypeAlias

import pyarrow as pa

import datasets
from discrete_diffusion.datasets.derived_columns import derived_columns
from discrete_diffusion.datasets.files import check_columns, mark_rows

Rows: TypeAlias = datasets.Dataset | datasets.DatasetDict


def rewritten_rows(
    source: Callable[..., Rows],
    path: str | os.PathLike[str] | None,
    column: str,
    notation: str,
    write: Callable[[str], str | None],
    version: str,
) -> Rows:
    """Return the rows of a source with their molecules in another notation, in a further column.

    Rows that cannot be written are marked in `drop_reason`.

    Args:
        source: Source of molecules.
        path: Argument `path` of `source`; None if it takes none.
        column: Column of SMILES.
        notation: Name of the notation; in lower case, of the column.
        write: Function from SMILES to the notation, or to None if it cannot express them.
        version: Everything that changes `write`.

    Raises:
        ValueError: If `source` takes no `path`, has no such column, or none of its molecules can be expressed.
    """
    if path is not None and "path" not in inspect.signature(source).parameters:
        raise ValueError("Expected no `path`: this source reads no file.")
    rows = source() if path is None else source(path=path)
    if isinstance(rows, datasets.DatasetDict):
        parts = {split: _rewritten(part, column, notation, write, version) for split, part in rows.items()}
        return datasets.DatasetDict(parts)
    return _rewritten(rows, column, notation, write, version)


def _rewritten(
    rows: datasets.Dataset, column: str, notation: str, write: Callable[[str], str | None], version: str
) -> datasets.Dataset:
    name = notation.lower()
    table = rows.with_format("arrow")[:].replace_schema_metadata(None)
    check_columns(table, [column], "the source")
    smiles = [one or "" for one in table.column(column).to_pylist()]
    made = derived_columns(
        smiles, lambda one: {name: write(one) if one else None}, name=notation, version=version
    ).column(name)
    if made.null_count == len(made):
        raise ValueError(f"Expected molecules that {notation} can write in {column!r}, got none.")
    lost = [row for row, one in enumerate(made.is_null().to_pylist()) if one]
    kept = [other for other in table.column_names if other != name]
    table = table.select(kept).append_column(name, made.cast(pa.string()))
    reason = f"cannot be written as {notation} ({smiles[lost[0]]!r})" if lost else ""
    # Caches are keyed by the content of the table, which depends on how it is split into chunks.
    table = mark_rows(table, dict.fromkeys(lost, reason)).combine_chunks()
    return datasets.Dataset(datasets.table.InMemoryTable(table))
