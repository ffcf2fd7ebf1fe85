"""Models of discrete data that travel: a directory that describes itself, published formats, how each is sampled."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from discrete_diffusion.checkpoints.checkpoint import Checkpoint, load
    from discrete_diffusion.checkpoints.classifier_checkpoint import (
        ClassifierCheckpoint,
        load_classifier,
        newest_classifier,
    )
    from discrete_diffusion.checkpoints.compatibility import describe_generator
    from discrete_diffusion.checkpoints.data import build_data
    from discrete_diffusion.checkpoints.folders import locate, newest
    from discrete_diffusion.checkpoints.hub import fetch
    from discrete_diffusion.checkpoints.published import needs_tokenizer
    from discrete_diffusion.checkpoints.samplers import AncestralSampler, AutoregressiveSampler, with_steps
    from discrete_diffusion.checkpoints.units import in_units

__all__ = [
    "AncestralSampler",
    "AutoregressiveSampler",
    "Checkpoint",
    "ClassifierCheckpoint",
    "build_data",
    "describe_generator",
    "fetch",
    "in_units",
    "load",
    "load_classifier",
    "locate",
    "needs_tokenizer",
    "newest",
    "newest_classifier",
    "with_steps",
]

_FILES = {
    "checkpoint": ("Checkpoint", "load"),
    "classifier_checkpoint": ("ClassifierCheckpoint", "load_classifier", "newest_classifier"),
    "compatibility": ("describe_generator",),
    "data": ("build_data",),
    "folders": ("locate", "newest"),
    "hub": ("fetch",),
    "published": ("needs_tokenizer",),
    "samplers": ("AncestralSampler", "AutoregressiveSampler", "with_steps"),
    "units": ("in_units",),
}
_FILE_OF = {name: file for file, names in _FILES.items() for name in names}


def __getattr__(name: str) -> Any:
    # Command lines look for folders before they wait for transformers and the data.
    if name not in _FILE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
