"""Tables in the file formats that people have."""

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

_FORMATS = "CSV, TSV, JSON, JSON lines (each plain or .gz) or Parquet"


def read_file(path: str | os.PathLike[str], text: Sequence[str] = ()) -> pa.Table:
    """Reads a CSV, TSV, JSON (a list of objects), JSON-lines or Parquet file; all but Parquet may be gzipped.

    Args:
        text: columns to read as strings, whatever they look like ("0101" and "NA" stay what they are).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file has another format, or its content is not what its name says.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"Expected a {_FORMATS} file, but {path} does not exist.")
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    reader = {".csv": _csv, ".tsv": _tsv, ".json": _json, ".jsonl": _json, ".parquet": _parquet}.get(suffix.lower())
    if reader is None:
        raise ValueError(f"Expected a {_FORMATS} file, got {path.name}.")
    try:
        table = reader(path, text)
    except (pa.ArrowException, ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    for column in text:
        if column in table.column_names and table.column(column).type != pa.string():
            i = table.column_names.index(column)
            table = table.set_column(i, column, table.column(column).cast(pa.string()))
    return table


def check_columns(table: pa.Table, expected: Sequence[str], path: object) -> None:
    """Raises ValueError where a column is missing, naming those that are there."""
    missing = [column for column in expected if column not in table.column_names]
    if missing:
        found = ", ".join(map(repr, table.column_names)) or "none"
        raise ValueError(f"Expected a column {', '.join(map(repr, missing))} in {path}; its columns are {found}.")


def _delimited(path: Path, text: Sequence[str], delimiter: str) -> pa.Table:
    return pa.csv.read_csv(
        path,
        parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(text, pa.string())),
    )


def _csv(path: Path, text: Sequence[str]) -> pa.Table:
    return _delimited(path, text, ",")


def _tsv(path: Path, text: Sequence[str]) -> pa.Table:
    return _delimited(path, text, "\t")


def _json(path: Path, text: Sequence[str]) -> pa.Table:
    content = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode("utf-8")
    rows = json.loads(content) if content.lstrip().startswith("[") else _lines(content)
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError("expected a list of objects, or one object a line, with column names as keys")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    # Values that a text column holds as numbers are written out here, because Arrow refuses to mix types.
    return pa.table(
        {c: [str(v) if c in text and v is not None else v for v in (row.get(c) for row in rows)] for c in columns}
    )


def _lines(content: str) -> list[Any]:
    return [json.loads(line) for line in content.split("\n") if line.strip()]


def _parquet(path: Path, text: Sequence[str]) -> pa.Table:
    return pa.parquet.read_table(path, partitioning=None)
