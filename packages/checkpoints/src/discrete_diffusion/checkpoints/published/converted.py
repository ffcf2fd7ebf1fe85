"""Checkpoints converted from other formats."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from discrete_diffusion.checkpoints.checkpoint import Checkpoint
from discrete_diffusion.checkpoints.classifier_checkpoint import ClassifierCheckpoint


@dataclass(frozen=True)
class Converted:
    """Checkpoint converted from another format.

    Attributes:
        checkpoint: The checkpoint.
        origin: Source, in words.
        notes: Settings that were not understood, or that this library handles differently.
        data_settings: Settings of the data in the published configuration, by their published names.
        behind_bos: Whether sequences start after the token that begins them.
    """

    checkpoint: Checkpoint
    origin: str
    notes: tuple[str, ...] = ()
    data_settings: Mapping[str, Any] = field(default_factory=dict)
    behind_bos: bool = False


@dataclass(frozen=True)
class ConvertedClassifier:
    """Classifier converted from another format.

    Attributes:
        checkpoint: The classifier.
        generator: The generator that it steers.
        origin: Source, in words.
        notes: Settings that were not understood, or that this library handles differently.
    """

    checkpoint: ClassifierCheckpoint
    generator: Checkpoint
    origin: str
    notes: tuple[str, ...] = ()
