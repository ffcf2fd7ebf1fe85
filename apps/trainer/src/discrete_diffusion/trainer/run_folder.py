"""Files of a run folder that a resumed run reads."""

import os
import re
from pathlib import Path

SETTINGS = "settings.yaml"
"""Settings of a run, written once before its first step."""


def for_resumption(arguments: list[str]) -> list[str]:
    """Return the command line for Hydra, which beside `resume` accepts settings that the defaults do not have.

    The resumed run may have other groups, such as data from a file, and `read_run` checks names against its settings.
    """
    if not any(one.startswith("resume=") and one != "resume=null" for one in arguments):
        return arguments
    return [f"++{one}" if re.match(r"(?!hydra\.)\w+(\.\w+)+=", one) else one for one in arguments]


def run_of(path: str | Path) -> Path:
    """Return the folder of a run, given the folder itself, its checkpoints, or one of them."""
    path = Path(path)
    if path.is_dir():
        return path.parent if path.name == "checkpoints" else path
    folder = path.resolve().parents[1]
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def settings_of(run: Path) -> Path:
    """Return the file of a run's settings; runs of version 0.1 have them where Hydra wrote them."""
    old = run / ".hydra" / "config.yaml"
    return old if old.is_file() and not (run / SETTINGS).is_file() else run / SETTINGS


def holds_a_run(folder: Path) -> bool:
    """Return whether a folder has the results of a run."""
    return any(next(folder.glob(name), None) for name in ("checkpoints/*.ckpt", "*/config.json"))


def write_synced(path: Path, text: str) -> None:
    """Write a file beside its place, sync it, and rename it, so that it is there whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def short(path: Path) -> Path:
    """Return the path relative to the current folder, if it is inside."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
