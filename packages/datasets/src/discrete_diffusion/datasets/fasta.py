"""DNA in FASTA files."""

import gzip
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (".fa", ".fasta", ".fna", ".ffn", ".fas")

_ENDING = re.compile(rf"({'|'.join(map(re.escape, SUFFIXES))})(\.gz)?$", re.IGNORECASE)
_LETTERS = bytes(letter if letter in b"ACGT" else ord("N") for letter in (bytes([i]).upper()[0] for i in range(256)))
_FOREIGN = re.compile(rb"[^A-Za-z*.-]")


def clean_sequence(sequence: str) -> str:
    """Return the sequence in upper case, with N for everything but A, C, G and T."""
    return sequence.encode("ascii", "replace").translate(_LETTERS).decode("ascii")


def fasta_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return the FASTA files at `path`: itself, or those of a folder, by name.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If a folder holds no FASTA file, or the file has another name.
    """
    path = Path(path).expanduser()
    endings = f"{', '.join(SUFFIXES)}, each plain or .gz"
    if not path.exists():
        raise FileNotFoundError(f"Expected a FASTA file or a folder of them ({endings}), but {path} does not exist.")
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = [file for file in files if file.is_file() and is_fasta(file)]
    if not found:
        raise ValueError(f"Expected FASTA files ({endings}), got {path}{', which holds none' * path.is_dir()}.")
    return found


def is_fasta(path: Path) -> bool:
    """Return whether the name is that of a FASTA file."""
    return _ENDING.search(path.name) is not None


def fasta_stem(path: Path) -> str:
    """Return the name of a file without its endings: `Homo_sapiens` for Homo_sapiens.fa.gz."""
    return _ENDING.sub("", path.name)


def read_fasta(path: str | os.PathLike[str]) -> Iterator[tuple[str, str]]:
    """Iterate over (name, sequence) of the records of a FASTA file, or of the files of a folder, one at a time.

    A record's name is the first word after its `>`. Lower case (soft-masked repeats) becomes upper case, and
    everything but A, C, G and T becomes N: the other IUPAC letters, gaps and stops.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If a file is not FASTA; the message has the line.
    """
    for file in fasta_files(path):
        yield from _records(file)


def _records(path: Path) -> Iterator[tuple[str, str]]:
    name, start, sequence = "", 0, bytearray()
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                line = line.strip()
                if line.startswith(b">"):
                    if start:
                        yield name, _sequence(sequence, path, start, name)
                    words = line[1:].split(maxsplit=1)
                    if not words:
                        raise ValueError(f"Expected a name after `>` in line {number} of {path}.")
                    name, start, sequence = words[0].decode("utf-8", "replace"), number, bytearray()
                elif line:
                    if not start:
                        raise ValueError(f"Expected a record that begins with `>` in line {number} of {path}.")
                    if foreign := _FOREIGN.search(line):
                        got = foreign.group().decode("latin-1")
                        raise ValueError(f"Expected letters of DNA in line {number} of {path}, got {got!r}.")
                    sequence += line.translate(_LETTERS)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error
    if not start:
        raise ValueError(f"Expected records that begin with `>` in {path}, got none.")
    yield name, _sequence(sequence, path, start, name)


def _sequence(sequence: bytearray, path: Path, line: int, name: str) -> str:
    if not sequence:
        raise ValueError(f"Expected a sequence after `>{name}` in line {line} of {path}, got none.")
    return sequence.decode("ascii")
