"""Where runs keep what they trained."""

from pathlib import Path


def newest(root: str | Path = "outputs") -> Path:
    """The checkpoint that was written last under `root`.

    Raises:
        FileNotFoundError: if there is none.
    """
    found = sorted(Path(root).glob("**/checkpoint/config.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FileNotFoundError(f"No checkpoint under {root}: train one with `uv run trainer`, or name one.")
    return found[-1].parent


def locate(path: str | Path | None, part: str = "checkpoint") -> Path:
    """The folder of a checkpoint or, with `part` "classifier", of a classifier, given itself or its run.

    Without a path it is the newest checkpoint there is.
    """
    if path is None:
        return newest()
    within = Path(path) / part
    return within if within.is_dir() else Path(path)


def evaluations(checkpoint: str | Path) -> Path:
    """Where a checkpoint's evaluations are kept, each in a folder of its own.

    That is `evaluation` in its run, and `NAME_evaluation` beside a checkpoint called NAME that is in no run.
    """
    folder = Path(checkpoint).resolve()
    return folder.parent / ("evaluation" if folder.name == "checkpoint" else f"{folder.name}_evaluation")
