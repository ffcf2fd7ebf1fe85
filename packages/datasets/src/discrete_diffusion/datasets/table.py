"""Rows of a user's own file."""

import datasets
from discrete_diffusion.datasets.files import Source, find_column, read_table


def table(path: Source, column: str | None = None, label: str | None = None) -> datasets.Dataset:
    """Read the rows of one or several files; `read_table` lists the formats.

    Args:
        path: File, pattern, several of them, or `-` for standard input.
        column: Column of strings, read as strings whatever they look like; by default found by its name.
        label: Column that must exist, such as that of the classes.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file cannot be read or has no rows, or a column is missing.
        ImportError: If the format needs an extra that is not installed.
    """
    rows = read_table(path, column)
    if label is not None:
        find_column(rows.column_names, label, origin=path)
    return rows
