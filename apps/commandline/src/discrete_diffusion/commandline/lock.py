"""Lock of an output folder."""

import os
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout


class FolderLock:
    """Lock that one process holds on a folder; the system releases it when the process ends, however it ends.

    Args:
        folder: Existing folder.
        work: Work of the process that holds the lock, as in "training in outputs/run".
        setting: Setting that names another folder.

    Raises:
        ValueError: If another process holds the lock, with its id.
    """

    def __init__(self, folder: Path, *, work: str, setting: str) -> None:
        self._lock, self._holder = FileLock(folder / ".lock"), folder / ".pid"
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise ValueError(
                f"Expected a folder without a running run, but process {self._other()} is {work}: wait for it, stop "
                f"it, or choose another {setting}."
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
