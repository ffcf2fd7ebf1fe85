"""text8: the first 100 million characters of Wikipedia, reduced to a-z and spaces."""

import gzip
import os
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import datasets
from discrete_diffusion.datasets.chunks import PARTS, SIZES, chunked
from discrete_diffusion.datasets.hub import from_hub

MEMBER = "text8"

_OTHER = re.compile(r"[^a-z ]")


def text8(
    path: str | os.PathLike[str] | None = None,
    chunk: int = 256,
    sizes: Sequence[int] = SIZES,
    crops: bool = False,
    *,
    name: str = "afmck/text8",
) -> datasets.DatasetDict:
    """Return text8 as rows of `chunk` characters in a column `text`, split into train, validation and test.

    Mahoney's text8, split 90M/5M/5M by position and cut without overlap, as in D3PM (arXiv 2107.03006) and in the
    code of arXiv 2412.10193. A part of text8 is split in the same proportions.

    Args:
        path: text8.zip, or text8 or a part of it as plain text, which may be gzipped. By default, the hub is read.
        chunk: Characters in a row.
        sizes: Characters of the three parts.
        crops: Whether training rows have 2 `chunk` - 1 characters, for `RandomCrop`.
        name: Data set of the Hugging Face hub.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not text8, or too short.
        UnreachableDataError: If there is no `path` and the hub cannot be reached.
    """
    if path is None:
        parts = from_hub(name, "text8.zip or the text in it")
        text = "".join(row for part in PARTS if part in parts for row in parts[part]["text"])
    else:
        text = _read(Path(path).expanduser())
    other = _OTHER.search(text)
    if other is not None:
        source = name if path is None else path
        raise ValueError(f"Expected a-z and spaces alone in {source}, got {other.group()!r} at {other.start():,}.")
    return chunked(text, chunk, sizes, crops=crops)


def _read(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"Expected text8.zip or its text (plain or .gz), but {path} does not exist.")
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                content = archive.read(MEMBER)
        else:
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return content.decode("ascii").rstrip("\n")
    except KeyError as error:
        raise ValueError(f"Expected a member {MEMBER!r} in {path}, got none.") from error
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as text8: {error}.") from error
