"""Files inside zip and tar archives, Python wheels included."""

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ENDINGS = (".zip", ".whl", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz")


def is_archive(path: Path) -> bool:
    """Return whether a name is that of an archive."""
    return path.name.lower().endswith(ENDINGS)


def split_member(path: Path) -> tuple[Path, str] | None:
    """Return archive and member of a path such as `models.whl/data/train.csv`, or None if no parent is an archive."""
    for parent in path.parents:
        if is_archive(parent) and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return None


def member_names(archive: Path) -> list[str]:
    """Return the names of the files in an archive.

    Raises:
        ValueError: If it is no archive, or broken.
    """
    with _readable(archive):
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                return [name for name in file.namelist() if not name.endswith("/")]
        with tarfile.open(archive) as tar:
            return [member.name for member in tar if member.isfile()]


def read_members(archive: Path, chosen: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files of an archive whose names `chosen` accepts, in the order of the archive.

    Raises:
        ValueError: If it is no archive, or broken.
    """
    with _readable(archive):
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                for name in file.namelist():
                    if not name.endswith("/") and chosen(name):
                        yield name, file.read(name)
            return
        with tarfile.open(archive) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() and chosen(member.name) else None
                if content is not None:
                    yield member.name, content.read()


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise ValueError(f"{archive} cannot be read: {str(error).splitlines()[0]}") from error
