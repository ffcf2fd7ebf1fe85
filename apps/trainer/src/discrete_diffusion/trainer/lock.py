"""Lock of a run folder."""

import os
from pathlib import Path

from filelock import FileLock, Timeout


class RunLock:
    """Lock that one process holds on a run folder; the system releases it when the process ends, however it ends.

    Args:
        folder: Run folder.

    Raises:
        ValueError: If another run holds the lock, with its process id.
    """

    def __init__(self, folder: Path) -> None:
        self._lock, self._holder = FileLock(folder / ".lock"), folder / ".pid"
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise ValueError(
                f"Expected a folder without a running run, but process {self._other()} is training in {folder}: wait "
                "for it, stop it, or choose another hydra.run.dir."
            ) from None
        self._holder.write_text(str(os.getpid()), encoding="utf-8")

    def release(self) -> None:
        """Release the lock."""
        self._holder.unlink(missing_ok=True)
        self._lock.release()

    def _other(self) -> str:
        try:
            return self._holder.read_text(encoding="utf-8")
        except OSError:
            return "(unknown)"
