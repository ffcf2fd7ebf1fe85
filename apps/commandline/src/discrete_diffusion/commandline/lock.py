"""Locks of output folders and files."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout


class FolderLock:
    """Lock that one process holds on a folder; the system releases it when the process ends, however it ends.

    Args:
        folder: Existing folder.
        work: Work of the process that holds the lock, as in "training in outputs/run".
        setting: Setting that names another folder.
        name: Beginning of the names of the two files that it keeps in the folder.

    Raises:
        ValueError: If another process holds the lock, with its id.
        OSError: If nothing can be written to the folder.
    """

    def __init__(self, folder: Path, *, work: str, setting: str, name: str = "") -> None:
        self._file, self._holder = folder / f"{name}.lock", folder / f"{name}.pid"
        # FileLock takes a folder where nothing can be created for one that is locked.
        self._file.touch()
        self._lock = FileLock(self._file)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise ValueError(
                f"Expected no other run, but process {self._other()} is {work}: wait for it, stop it, or choose "
                f"another {setting}."
            ) from None
        self._holder.write_text(str(os.getpid()), encoding="utf-8")

    def release(self) -> None:
        """Release the lock."""
        self._holder.unlink(missing_ok=True)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def _other(self) -> str:
        try:
            return self._holder.read_text(encoding="utf-8")
        except OSError:
            return "(unknown)"


class OutputLock(FolderLock):
    """Lock that one process holds on a file that it writes, with two hidden files beside it until the release.

    Folders above the file are created. The release removes those that are still empty.

    Args:
        file: The file, which need not exist.

    Raises:
        ValueError: If another process holds the lock, with its id.
        OSError: If no file can be written there.
    """

    def __init__(self, file: Path) -> None:
        self._created = [folder for folder in file.parents if not folder.exists()]
        file.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(file.parent, work=f"writing to {file}", setting="output", name=f".{file.name}")

    def release(self) -> None:
        """Release the lock, and remove its files."""
        with suppress(OSError):  # Windows removes no open file
            self._file.unlink()
        super().release()
        with suppress(OSError):  # not empty
            for folder in self._created:
                folder.rmdir()
