"""Streams of web documents."""

import os
from pathlib import Path

import datasets
from discrete_diffusion.datasets.hub import from_hub

_READERS = {".txt": "text", ".jsonl": "json", ".parquet": "parquet"}
_FORMATS = ".txt (a document a line), .jsonl (each plain or .gz) or .parquet"


def openwebtext(
    path: str | os.PathLike[str] | None = None, *, name: str = "Skylion007/openwebtext"
) -> datasets.IterableDataset:
    """Return a stream of documents with a column `text`: OpenWebText, or data that are too large for memory.

    Args:
        path: File of documents, or folder of files in one format: lines of text, or a column `text` in JSON lines or
            Parquet; all but Parquet may be gzipped. By default, the hub is read.
        name: Data set of the Hugging Face hub.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the files have another format, several formats, or no column `text`.
        UnreachableDataError: If there is no `path` and the hub cannot be reached.
    """
    if path is None:
        rows = from_hub(name, f"a file or folder of {_FORMATS}", split="train", streaming=True)
    else:
        path = Path(path).expanduser()
        found = path.rglob("[!.]*") if path.is_dir() else [path]
        files = sorted(file for file in found if file.is_file())
        if not files:
            raise FileNotFoundError(f"Expected a file or folder of {_FORMATS}, but {path} has none.")
        readers = {_READERS.get(_suffix(file)) for file in files}
        if len(readers) > 1 or None in readers:
            raise ValueError(f"Expected files of one format, {_FORMATS}, in {path}, got {_named(files)}.")
        (reader,) = readers
        rows = datasets.load_dataset(reader, data_files=[str(file) for file in files], split="train", streaming=True)
    try:
        first = next(iter(rows), None)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise ValueError(f"{path or name} cannot be read: {str(error).splitlines()[0]}") from error
    if first is None or not isinstance(first.get("text"), str):
        columns = ", ".join(first) if first else "nothing"
        raise ValueError(f"Expected documents with a column 'text' in {path or name}, got {columns}.")
    return rows.select_columns("text")


def _suffix(path: Path) -> str:
    return (Path(path.stem) if path.suffix == ".gz" else path).suffix.lower()


def _named(files: list[Path]) -> str:
    return ", ".join(sorted({_suffix(file) or file.name for file in files})[:5])
