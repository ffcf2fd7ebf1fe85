"""Tables in common file formats."""

import csv
import glob
import gzip
import importlib.util
import io
import json
import logging
import os
import sys
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

import datasets
from discrete_diffusion.datasets.archives import is_archive, member_names, read_members, split_member
from discrete_diffusion.datasets.hdf5 import read_hdf5, split_array
from discrete_diffusion.datasets.row_report import DROP_REASON, RowChange

Source: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A file, a pattern such as `part-*.csv`, several of them, or `-` for standard input."""

SMILES_NAMES = ("canonical_smiles", "smiles", "isomeric_smiles", "structure")
SEQUENCE_NAMES = ("sequence", "sequences", "seq", "protein", "protein_sequence", "dna", "selfies")
TEXT_NAMES = ("text", "sentence", "content", "string", "document")
NAMES = (*SMILES_NAMES, *SEQUENCE_NAMES, *TEXT_NAMES)
"""Column names that are recognized if none is given, in order of preference."""

_FORMATS = "CSV, TSV, JSON, JSON lines, text, SMILES, FASTA, SDF, Excel (each plain or .gz), HDF5 or Parquet"
_DELIMITERS = (",", ";", "\t")
_SNIFFED = 20
_LISTED = 20

logger = logging.getLogger(__name__)


def read_table(
    path: Source, column: str | None = None, *, names: Sequence[str] = NAMES, text: Sequence[str] = ()
) -> datasets.Dataset:
    """Read the rows of one or several files, of which one column holds strings.

    | Ending | Rows |
    | --- | --- |
    | .csv, .tsv | a header, then values separated by a comma, semicolon or tab, whichever the header has |
    | .json, .jsonl | a list of objects, or one object a line |
    | .txt | one string a line, in a column `sequence` |
    | .smi, .smiles | SMILES, blank or tab, name; lines that begin with `#` are comments; columns `smiles` and `name` |
    | .fa, .fasta, .fna, .ffn, .faa, .fas | any alphabet; columns `sequence`, `name` and `description` |
    | .sdf, .sd | SMILES by RDKit, with the properties of each molecule as columns; needs the extra `rdkit` |
    | .xlsx | the active sheet, whose first row is the header; needs the extra `excel` |
    | .h5, .hdf5 | one-hot DNA as strings, with other arrays as columns; needs the extra `hdf5`; see `read_hdf5` |
    | .parquet | |
    | .zip, .tar, .tar.gz, .tar.bz2, .whl | the only such file in the archive; `ARCHIVE/MEMBER` names one of several |

    All but Parquet and HDF5 may be gzipped. `FILE/ARRAY` names one of several arrays of an HDF5 file. Text that is not
    UTF-8 is read as Latin-1, with a warning. Spaces around the strings are removed, with a warning. Rows with a blank
    string stay, marked in a column `drop_reason`: `sequence_data` drops and counts them.

    Args:
        path: File, pattern, several of them, or `-` for standard input.
        column: Column of strings, upper or lower case; by default the first of `names` in the file, or its only column.
        names: Column names to look for.
        text: Further columns to read as strings.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file has another format or is broken, has no such column, or has no rows.
        ImportError: If the format needs an extra that is not installed.
    """
    rows = read_file(path, text=[column, *text] if column is not None else [*names, *text])
    column = find_column(rows.column_names, column, names, origin=path)
    if rows.num_rows == 0:
        raise ValueError(f"Expected rows in {path}, got none.")
    rows = _distinct(rows, path)
    place = rows.column_names.index(column)
    strings = rows.column(column)
    if not pa.types.is_string(strings.type):
        try:
            strings = strings.cast(pa.string())
        except pa.ArrowException as error:
            raise ValueError(f"Expected strings in the column {column!r} of {path}, got {strings.type}.") from error
    stripped = pa.compute.utf8_trim_whitespace(strings)
    padded = pa.compute.fill_null(pa.compute.not_equal(stripped, strings), False).to_numpy().nonzero()[0]
    blank = pa.compute.fill_null(pa.compute.equal(stripped, ""), True).to_numpy()
    padded = padded[~blank[padded]]
    if len(padded):
        change = RowChange.of("altered", f"spaces around the string in {column!r} are removed", padded)
        logger.warning("%s: %s.", path, change.describe(len(strings)))
    rows = rows.set_column(place, column, stripped)
    if blank.any():
        rows = mark_rows(rows, {int(i): f"no string in the column {column!r}" for i in blank.nonzero()[0]})
    return datasets.Dataset(datasets.table.InMemoryTable(rows.replace_schema_metadata(None).combine_chunks()))


def _distinct(rows: pa.Table, path: object) -> pa.Table:
    """Return the rows without columns that share a blank name, which spreadsheets write beside a table.

    Raises:
        ValueError: If columns share another name.
    """
    names = rows.column_names
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    for name in repeated:
        if name.strip():
            raise ValueError(f"Expected one column {name!r} in {path}, but there are {names.count(name)}.")
    return rows.select([i for i, name in enumerate(names) if name not in repeated]) if repeated else rows


def find_column(
    found: Sequence[str], column: str | None = None, names: Sequence[str] = NAMES, *, origin: object = None
) -> str:
    """Return the column of strings among those that are found, without regard to upper and lower case.

    Args:
        found: Columns of a table.
        column: Requested name; by default the first of `names`, or the only column.
        names: Names to look for.
        origin: Where the table comes from, for the message.

    Raises:
        ValueError: If there is no such column.
    """
    if column in found:
        return str(column)
    lower = {name.lower(): name for name in reversed(found) if name != DROP_REASON}
    accepted = names if column is None else [column]
    for name in accepted:
        if name.lower() in lower:
            return lower[name.lower()]
    if column is None and names is NAMES and len(lower) == 1:
        return next(iter(lower.values()))
    where = "" if origin is None else f" in {origin}"
    expected = " or ".join(map(repr, accepted))
    raise ValueError(f"Expected a column {expected}{where}; its columns are {_listed(found)}.")


def _listed(columns: Sequence[str]) -> str:
    """Return the names of columns for a message, shortened."""
    shown = [f"{name!r:.40}" for name in columns[:_LISTED]]
    return ", ".join([*shown, *(["..."] if len(columns) > _LISTED else [])]) or "none"


def mark_rows(table: pa.Table, reasons: Mapping[int, str]) -> pa.Table:
    """Return the table with reasons to drop rows, by their position, beside those that it has."""
    if not reasons:
        return table
    marks: list[str | None] = [None] * table.num_rows
    if DROP_REASON in table.column_names:
        marks = table.column(DROP_REASON).to_pylist()
        table = table.drop_columns([DROP_REASON])
    for row, reason in reasons.items():
        marks[row] = marks[row] or reason
    return table.append_column(DROP_REASON, pa.array(marks, pa.string()))


def read_file(path: Source, text: Sequence[str] = (), header: Sequence[str] | None = None) -> pa.Table:
    """Read one or several files as a table; see `read_table` for the formats.

    Args:
        path: File, pattern, several of them, or `-` for standard input.
        text: Columns to read as strings, whatever they look like ("0101" and "NA" stay what they are).
        header: Columns of a CSV or TSV file, if its first line has none of these names and is therefore a row.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file has another format, or its content is not what its name says.
        ImportError: If the format needs an extra that is not installed.
    """
    tables = [_read(file, {name.lower() for name in text}, header) for file in _files(path)]
    try:
        return tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ValueError(f"The files {path} have different columns: {str(error).splitlines()[0]}") from error


def locate_files(path: Source, folders: Iterable[str | os.PathLike[str]]) -> Source:
    """Return a relative path below the first of some folders that has its files, or the path itself without one.

    Args:
        path: File, folder, pattern, several of them, or `-` for standard input, as in `read_file`.
        folders: Folders that the path may be relative to.
    """
    several = [os.path.expanduser(os.fspath(one)) for one in _listed_sources(path)]  # noqa: PTH111
    if "-" in several or all(map(os.path.isabs, several)):
        return path
    for folder in folders:
        found = [os.path.join(folder, one) for one in several]  # noqa: PTH118 - patterns are strings
        if all(map(_exists, found)):
            return found[0] if isinstance(path, (str, os.PathLike)) else found
    return path


def check_columns(table: pa.Table, expected: Sequence[str], path: object) -> None:
    """Check that a table has all columns.

    Raises:
        ValueError: If one is missing; the message has those that exist.
    """
    missing = [column for column in expected if column not in table.column_names]
    if missing:
        names = ", ".join(map(repr, missing))
        raise ValueError(f"Expected a column {names} in {path}; its columns are {_listed(table.column_names)}.")


def _listed_sources(path: Source) -> Sequence[str | os.PathLike[str]]:
    return [path] if isinstance(path, (str, os.PathLike)) else path


def _exists(name: str) -> bool:
    path = Path(name)
    return path.exists() or bool(split_member(path) or split_array(path) or glob.glob(name))  # noqa: PTH207


def _files(path: Source) -> list[Path]:
    files = []
    for one in _listed_sources(path):
        name = os.path.expanduser(os.fspath(one))  # noqa: PTH111 - `glob` takes strings
        if name == "-" or Path(name).is_file() or split_member(Path(name)) or split_array(Path(name)):
            files.append(Path(name))
        elif found := [Path(match) for match in sorted(glob.glob(name)) if Path(match).is_file()]:  # noqa: PTH207
            files += found
        else:
            reason = "is a folder" if Path(name).is_dir() else "is no file" if Path(name).exists() else "does not exist"
            raise FileNotFoundError(f"Expected a {_FORMATS} file, but {one} {reason}.")
    if not files:
        raise ValueError(f"Expected a {_FORMATS} file, got none.")
    return files


def _read(path: Path, text: set[str], header: Sequence[str] | None) -> pa.Table:
    suffix = _suffix(path)
    name = "standard input" if str(path) == "-" else str(path)
    try:
        if str(path) == "-" and sys.stdin.isatty():
            raise ValueError("it is a terminal, not a file")
        if (inside := split_array(path)) is not None:
            return read_hdf5(*inside)
        if is_archive(path):
            path = _only_table(path)
            suffix = _suffix(path)
        content = _content(path)
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        elif path.suffix.lower() == ".gz":
            raise ValueError("it is not gzipped")
        kind = _guessed(content) if str(path) == "-" else _KINDS.get(suffix.lower())
        if kind == "csv":
            return _delimited(_decoded(content, name), text, header)
        if kind == "parquet":
            return pa.parquet.read_table(io.BytesIO(content))
        if kind == "sdf":
            return _sdf(content)
        if kind == "xlsx":
            return _xlsx(content, text)
        if kind is not None:
            reader = {"json": _json, "lines": _lines, "smi": _smi, "fasta": _fasta}[kind]
            return _columns(reader(_decoded(content, name)), text)
    except RecursionError as error:
        raise ValueError(f"{name} cannot be read: it is nested too deeply.") from error
    except (pa.ArrowException, csv.Error, ValueError, EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(f"{name} cannot be read: {str(error).splitlines()[0]}") from error
    raise ValueError(f"Expected a {_FORMATS} file, got {path.name}.")


_KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".tab"), "csv"),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "json"),
    **dict.fromkeys((".fa", ".fasta", ".fna", ".ffn", ".faa", ".fas"), "fasta"),
    **dict.fromkeys((".smi", ".smiles"), "smi"),
    **dict.fromkeys((".sdf", ".sd"), "sdf"),
    ".txt": "lines",
    ".xlsx": "xlsx",
    ".parquet": "parquet",
}


def _suffix(path: Path) -> str:
    return Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix


def _content(path: Path) -> bytes:
    if str(path) == "-":
        return sys.stdin.buffer.read()
    inside = split_member(path)
    if inside is None:
        return path.read_bytes()
    archive, member = inside
    for _, content in read_members(archive, lambda name: name == member):
        return content
    raise ValueError(f"{archive} has no file {member}")


def _only_table(archive: Path) -> Path:
    """Return the path of the only file of an archive that can be read as a table.

    Raises:
        ValueError: If there is none, or several.
    """
    tables = [name for name in member_names(archive) if _suffix(Path(name)).lower() in _KINDS]
    found = [name for name in tables if ".dist-info/" not in name]
    if len(found) != 1:
        names = ", ".join(found[:6]) + (" and more" if len(found) > 6 else "")
        raise ValueError(
            f"expected one {_FORMATS} file in the archive, got {len(found)}"
            + (f" ({names}): name one as {archive}/{found[0]}" if found else "")
        )
    return archive / found[0]


def _guessed(content: bytes) -> str:
    """Return the format of standard input, which has no name."""
    start = content[:4096].lstrip()
    if content[:4] == b"PAR1":
        return "parquet"
    if start[:1] == b">":
        return "fasta"
    if start[:1] in (b"{", b"[") and start.rstrip()[-1:] in (b"}", b"]", b",") and b":" in start:
        return "json"
    text = start.decode("latin-1")
    first = next(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text)), [])
    known = {name.lower() for name in NAMES}
    return "csv" if len(first) > 1 or {name.strip().lower() for name in first} & known else "lines"


def _decoded(content: bytes, name: str) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = content.decode("utf-16")
    elif b"\0" in content:
        text = "\0"
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            logger.warning("%s is not UTF-8: it is read as Latin-1.", name)
            text = content.decode("latin-1")
    if "\0" in text:
        raise ValueError("expected text, got NUL characters: save it as UTF-8, and remove them")
    return text


def _delimiter(content: str) -> str:
    """Return the delimiter that splits the first lines into the most columns, the same number in each."""
    head = "\n".join(content.split("\n", 4 * _SNIFFED)[: 4 * _SNIFFED])

    def columns(delimiter: str) -> int:
        rows = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
        counts = [len(row) for row in islice(rows, _SNIFFED) if row]
        return counts[0] if counts and max(counts) == min(counts) else min(len(counts), 1)

    try:
        return max(_DELIMITERS, key=columns)
    except csv.Error:
        return ","


def _delimited(content: str, text: set[str], header: Sequence[str] | None) -> pa.Table:
    content = content.rstrip("\r\n") + "\n" if content.strip() else content
    delimiter = _delimiter(content)
    first = next(csv.reader(io.StringIO(content, newline=""), delimiter=delimiter), [])
    names = [name.strip() for name in first]
    has_header = header is None or bool({name.lower() for name in names} & {name.lower() for name in header})
    if header is not None and not has_header:
        names = list(header)
    broken: list[pa.csv.InvalidRow] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        broken.append(row)
        return "skip"

    table = pa.csv.read_csv(
        io.BytesIO(content.encode("utf-8")),
        read_options=pa.csv.ReadOptions(column_names=names, skip_rows=int(has_header), use_threads=False),
        parse_options=pa.csv.ParseOptions(
            delimiter=delimiter,
            newlines_in_values=True,
            # In a table of one column, an empty line is an empty string.
            ignore_empty_lines=len(names) > 1,
            invalid_row_handler=skip,
        ),
        convert_options=pa.csv.ConvertOptions(
            column_types={name: pa.string() for name in names if name.lower() in text}
        ),
    )
    if broken:
        numbers = ", ".join(str(row.number - has_header) for row in broken[:5] if row.number is not None)
        raise ValueError(
            f"expected {broken[0].expected_columns} values in every row, but {len(broken)} rows have another number, "
            f"such as row {numbers}: {broken[0].text[:60]!r}; put values that contain a {delimiter!r} in quotes"
        )
    return table


def _columns(rows: Sequence[Mapping[str, Any]], text: set[str]) -> pa.Table:
    columns = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(name) for row in rows]
        if name.lower() not in text:
            try:
                columns[name] = pa.array(values)
                continue
            except (pa.ArrowException, OverflowError):
                pass  # numbers and strings in one column, which Arrow refuses to mix, or integers beyond 64 bits
        lists = any(isinstance(value, (list, dict)) for value in values)
        columns[name] = pa.array(values if lists else [value if value is None else str(value) for value in values])
    return pa.table(columns)


def _json(content: str) -> list[dict[str, Any]]:
    rows = json.loads(content) if content.lstrip().startswith("[") else list(_json_lines(content))
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError("expected a list of objects, or one object a line, with column names as keys")
    return rows


def _json_lines(content: str) -> Iterable[Any]:
    for number, line in enumerate(content.split("\n"), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ValueError(f"line {number} is not JSON: {error}") from error


def _split_lines(content: str) -> list[str]:
    return [line.rstrip("\r") for line in content.rstrip("\r\n").split("\n")] if content.strip() else []


def _lines(content: str) -> list[dict[str, Any]]:
    return [{"sequence": line} for line in _split_lines(content)]


def _smi(content: str) -> list[dict[str, Any]]:
    lines = [line for line in _split_lines(content) if not line.startswith("#")]
    if lines and lines[0].split()[:1] and lines[0].split()[0].lower() in SMILES_NAMES:
        del lines[0]  # some programs write a header
    parts = [line.strip().split(maxsplit=1) for line in lines]
    return [{"smiles": (part or [""])[0], "name": part[1] if len(part) > 1 else None} for part in parts]


def _fasta(content: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(_split_lines(content), 1):
        if line.startswith(">"):
            name, _, description = line[1:].strip().partition(" ")
            rows.append({"sequence": [], "name": name, "description": description})
        elif line.strip():
            if not rows:
                raise ValueError(f"expected a record that begins with `>` in line {number}")
            rows[-1]["sequence"].append("".join(line.split()))
    return [{**row, "sequence": "".join(row["sequence"])} for row in rows]


def _xlsx(content: bytes, text: set[str]) -> pa.Table:
    if importlib.util.find_spec("openpyxl") is None:
        raise ImportError("Excel files need openpyxl: install `discrete-diffusion-datasets[excel]`.")
    from openpyxl import load_workbook

    header, *rows = load_workbook(io.BytesIO(content), read_only=True, data_only=True).active.values
    names = [f"column {i}" if name is None else str(name).strip() for i, name in enumerate(header, 1)]
    while rows and not any(value is not None for value in rows[-1]):
        rows.pop()
    return _columns([dict(zip(names, row, strict=True)) for row in rows], text)


def _sdf(content: bytes) -> pa.Table:
    if importlib.util.find_spec("rdkit") is None:
        raise ImportError("SDF files need RDKit: install `discrete-diffusion-datasets[rdkit]`.")
    from rdkit import Chem, rdBase

    rows: list[dict[str, Any]] = []
    unreadable: dict[int, str] = {}
    with rdBase.BlockLogs():
        for molecule in Chem.ForwardSDMolSupplier(io.BytesIO(content)):
            if molecule is None:
                unreadable[len(rows)] = "RDKit cannot read the molecule"
                rows.append({"smiles": ""})
                continue
            name = molecule.GetProp("_Name") if molecule.HasProp("_Name") else None
            properties = molecule.GetPropsAsDict()
            rows.append({"smiles": Chem.MolToSmiles(molecule), "name": name, **properties})
    return mark_rows(_columns(rows, {"smiles"}), unreadable)
