"""Anybody's data."""

import os

import datasets
from discrete_diffusion.datasets.files import check_columns, read_file


def table(path: str | os.PathLike[str], column: str, label: str | None = None) -> datasets.Dataset:
    """Reads the rows of a CSV, TSV, JSON, JSON-lines or Parquet file, of which `column` holds the sequences.

    Args:
        column: the column of sequences, read as strings whatever they look like.
        label: a column to label them by, which must be there: classes (strings or integers, for `CategoryLabel`) or
            numbers (for `PercentileLabel`).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file cannot be read, a column is missing, or a sequence or a label is.
    """
    rows = read_file(path, text=[column])
    needed = [column] if label is None else [column, label]
    check_columns(rows, needed, path)
    for name in needed:
        nulls = rows.column(name).null_count
        if nulls:
            raise ValueError(f"Expected a value in every row of the column {name!r} of {path}, but {nulls} have none.")
    if rows.num_rows == 0:
        raise ValueError(f"Expected rows in {path}, got none.")
    return datasets.Dataset(datasets.table.InMemoryTable(rows))
