"""What is measured: a checkpoint, and the data that it was trained on."""

from pathlib import Path

from hydra.errors import InstantiationException

from discrete_diffusion.datasets import SequenceData
from discrete_diffusion.trainer.checkpoint import Checkpoint, newest


def locate(path: str | None) -> Path:
    """The folder of a checkpoint, given itself, its run, or nothing."""
    if path is None:
        return newest()
    within = Path(path) / "checkpoint"
    return within if within.is_dir() else Path(path)


def describe(checkpoint: Checkpoint) -> str:
    """What a checkpoint is, in a line."""
    model = checkpoint.config["model"]
    kind = (model.get("process") or model["objective"])["_target_"].rpartition(".")[2]
    size = sum(parameter.numel() for parameter in checkpoint.network.parameters())
    label = "no labels" if checkpoint.label is None else "classes " + ", ".join(checkpoint.label.class_names[:6])
    return f"{kind}, {size:,} parameters, {checkpoint.config['data']['kind']} of {checkpoint.length} tokens, {label}"


def load_data(checkpoint: Checkpoint, path: str | None) -> SequenceData:
    """The data of the training, from where their file is now.

    Raises:
        ValueError: if they come from no file.
        FileNotFoundError: if there is none.
    """
    rows = checkpoint.config["data"]["rows"]
    if path is not None and "path" not in rows:
        raise ValueError("Expected no `data.path`: the data of this checkpoint come from no file.")
    try:
        return checkpoint.data() if path is None else checkpoint.data(path=path, rows={**rows, "path": path})
    except (FileNotFoundError, InstantiationException) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        if "path" not in rows or not isinstance(cause, FileNotFoundError):
            raise
        raise FileNotFoundError(f"The training data are gone. {cause} Say where they are: `data.path=`.") from error
