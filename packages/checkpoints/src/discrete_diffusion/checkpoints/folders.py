"""Folders of runs, checkpoints and evaluations."""

from os import PathLike
from pathlib import Path

from discrete_diffusion import models
from discrete_diffusion.checkpoints.errors import NoCheckpointError


def newest(root: str | Path = "outputs") -> Path:
    """Return the newest checkpoint under `root`.

    Raises:
        NoCheckpointError: If there is none.
    """
    found = sorted(Path(root).glob("**/checkpoint/config.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise NoCheckpointError(f"No checkpoint under {root}.")
    return found[-1].parent


def locate(path: str | Path | None, part: str = "checkpoint") -> Path:
    """Return the folder of a checkpoint or, with `part` "classifier", of a classifier.

    Args:
        path: The folder itself, its run, a folder of runs, of which the newest one is taken, or the name of a model of
            `discrete_diffusion.models`; by default the newest checkpoint under outputs/.
        part: "checkpoint" or "classifier".

    Raises:
        NoCheckpointError: If `path` is None and there is no checkpoint.
        TypeError: If `path` is no path.
    """
    if path is None:
        return newest()
    if not isinstance(path, str | PathLike):
        raise TypeError(f"Expected a folder or a name as `path`, got {path!r:.80}.")
    if part == "checkpoint" and not Path(path).exists() and str(path) in models.names():
        return models.folder(str(path))
    within = Path(path) / part
    if within.is_dir():
        return within
    runs = [] if (Path(path) / "config.json").exists() else sorted(Path(path).glob(f"*/{part}/config.json"))
    return max(runs, key=lambda run: run.stat().st_mtime).parent if runs else Path(path)


def expect_checkpoint(path: str | Path | None) -> None:
    """Raise if a path cannot be a checkpoint, before torch and the data sets are imported.

    Args:
        path: As for `locate`, or a name on the Hugging Face hub, which is not checked.

    Raises:
        FileNotFoundError: If there is no config.json.
    """
    folder = locate(path)
    if (folder.exists() or path is None or str(path).count("/") != 1) and not (folder / "config.json").is_file():
        raise FileNotFoundError(f"Expected a checkpoint in {folder}, but it has no config.json{shipped(folder)}.")


def shipped(folder: Path) -> str:
    """Return the end of a message that lists the shipped models if a folder may be a misspelled name, or ""."""
    if folder.exists() or len(folder.parts) != 1:
        return ""
    return f"; the shipped models are {', '.join(models.names())}"


def evaluations(checkpoint: str | Path) -> Path:
    """Return the folder of a checkpoint's evaluations.

    It is `evaluation` in the checkpoint's run, `NAME_evaluation` beside a checkpoint NAME that belongs to no run, or
    `outputs/NAME/evaluation` for a model NAME of `discrete_diffusion.models`.
    """
    folder = Path(checkpoint).resolve()
    if folder.parent == models.ROOT.resolve():
        return Path("outputs") / folder.name / "evaluation"
    return folder.parent / ("evaluation" if folder.name == "checkpoint" else f"{folder.name}_evaluation")
