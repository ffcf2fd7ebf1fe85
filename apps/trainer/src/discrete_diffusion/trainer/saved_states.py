"""Lightning's checkpoints of a run, and the newest complete one."""

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from discrete_diffusion.trainer.run_folder import run_of


class Saved(NamedTuple):
    """Checkpoint to resume from.

    Attributes:
        path: The checkpoint.
        torn: Newer checkpoints, or the requested one, that cannot be read to their end.
    """

    path: Path
    torn: list[Path]


def newest_whole(path: str | Path) -> Saved:
    """Return the requested checkpoint or, for a run folder or a torn checkpoint, the newest whole one of the run.

    Raises:
        FileNotFoundError: If the run has no checkpoint.
        ValueError: If all of them are torn.
    """
    path = Path(path)
    if path.is_file() and is_whole(path):
        return Saved(path, [])
    found = sorted(((run_of(path) / "checkpoints").glob("*.ckpt")), key=lambda file: file.name)
    if not found:
        raise FileNotFoundError(f"Nothing to resume in {run_of(path)}: it stopped before its first checkpoint.")
    whole = [file for file in found if is_whole(file)]
    torn = [file for file in found if file not in whole]
    if not whole:
        raise ValueError(f"Nothing to resume in {run_of(path)}: {', '.join(map(str, torn))} cannot be read.")
    # Of two checkpoints of the same step, `last.ckpt` is the later one.
    return Saved(max(whole, key=lambda file: (_step(file), file.name == "last.ckpt")), torn)


def is_whole(path: Path) -> bool:
    """Return whether a checkpoint is complete: all its parts are there, with the checksums that torch stores."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, EOFError, NotImplementedError):
        return False


def _step(path: Path) -> int:
    stored: Any = torch.load(path, weights_only=True, mmap=True, map_location="cpu")
    return int(stored["global_step"])
