"""What a checkpoint of another format became."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from discrete_diffusion.checkpoints.checkpoint import Checkpoint
from discrete_diffusion.checkpoints.classifier_checkpoint import ClassifierCheckpoint


@dataclass(frozen=True)
class Converted:
    """A checkpoint that was read from another format.

    Attributes:
        origin: what was read, in words.
        notes: what of it was not understood, or is otherwise here.
        said_of_data: what the published configuration says of the data, by its own names.
        behind_bos: sequences are what follows the token that begins them.
    """

    checkpoint: Checkpoint
    origin: str
    notes: tuple[str, ...] = ()
    said_of_data: Mapping[str, Any] = field(default_factory=dict)
    behind_bos: bool = False


@dataclass(frozen=True)
class ConvertedClassifier:
    """A classifier that was read from another format.

    Attributes:
        generator: what it steers.
        origin: what was read, in words.
        notes: what of it was not understood, or is otherwise here.
    """

    checkpoint: ClassifierCheckpoint
    generator: Checkpoint
    origin: str
    notes: tuple[str, ...] = ()
