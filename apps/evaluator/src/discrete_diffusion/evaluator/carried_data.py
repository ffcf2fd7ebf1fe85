"""Training data of a model that carries statistics of them instead of the rows."""

from dataclasses import dataclass
from pathlib import Path

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.datasets import FittedValueLabel, Label, SequenceData

FILE = "reference.safetensors"
"""File of a checkpoint with the statistics, as its domain writes them."""


class MissingRowsError(ValueError):
    """An option needs the training rows, and the model carries statistics of them alone."""


@dataclass(frozen=True)
class CarriedData:
    """Statistics of the training data.

    Attributes:
        path: File that the domain reads.
        label: Classes of the data.
        values: Numbers of the data that condition the model.
    """

    path: Path
    label: Label | None
    values: FittedValueLabel | None = None


def training_data(checkpoint: Checkpoint, folder: Path, path: str | None) -> SequenceData | CarriedData:
    """Return the training data of a model, or what it carries of them if no `path` is given.

    Args:
        checkpoint: Model.
        folder: Its folder.
        path: Place of the data, if they have moved.
    """
    file = folder / FILE
    if path is None and file.is_file():
        return CarriedData(file, checkpoint.label, checkpoint.values)
    return checkpoint.data(path)


def example_string(data: SequenceData | CarriedData) -> str:
    """Return a string that the domain accepts: a training row, or a molecule, since molecules alone are carried."""
    return "CCO" if isinstance(data, CarriedData) else data.examples(1).with_format(None)[data.column][0]


def with_rows(data: SequenceData | CarriedData, option: str) -> SequenceData:
    """Return the data.

    Raises:
        MissingRowsError: If there are no rows.
    """
    if isinstance(data, CarriedData):
        raise MissingRowsError(f"`{option}` needs the training rows, and the model carries statistics of them alone.")
    return data
