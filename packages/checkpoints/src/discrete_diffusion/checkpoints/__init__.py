"""Checkpoints: folders that describe their models, published formats, and export."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from discrete_diffusion.checkpoints.checkpoint import Checkpoint
    from discrete_diffusion.checkpoints.classifier_checkpoint import (
        ClassifierCheckpoint,
        in_units,
        load_classifier,
        newest_classifier,
    )
    from discrete_diffusion.checkpoints.classifier_conversion import convert_classifier
    from discrete_diffusion.checkpoints.compatibility import describe_generator
    from discrete_diffusion.checkpoints.conversion import convert, expect_free, read_foreign, trained_on
    from discrete_diffusion.checkpoints.data import build_data
    from discrete_diffusion.checkpoints.errors import (
        ClassifierMismatchError,
        MissingClassifierError,
        MissingDataError,
        NoCheckpointError,
        UndescribedDataError,
    )
    from discrete_diffusion.checkpoints.folders import evaluations, expect_checkpoint, locate, newest
    from discrete_diffusion.checkpoints.hub import fetch, is_hub_name
    from discrete_diffusion.checkpoints.loading import load
    from discrete_diffusion.checkpoints.published.converted import Converted, ConvertedClassifier
    from discrete_diffusion.checkpoints.published.hub_folder import needs_tokenizer
    from discrete_diffusion.checkpoints.samplers import with_steps
    from discrete_diffusion.checkpoints.scoring import Scorer, Scores, score
    from discrete_diffusion.checkpoints.transformers_export.card import RunResults, model_card
    from discrete_diffusion.checkpoints.transformers_export.folder import export
    from discrete_diffusion.checkpoints.transformers_export.upload import expect_hub_name, push_to_hub
    from discrete_diffusion.checkpoints.trust import TARGETS, UntrustedTargetError, expect_trusted

__all__ = [
    "TARGETS",
    "Checkpoint",
    "ClassifierCheckpoint",
    "ClassifierMismatchError",
    "Converted",
    "ConvertedClassifier",
    "MissingClassifierError",
    "MissingDataError",
    "NoCheckpointError",
    "RunResults",
    "Scorer",
    "Scores",
    "UndescribedDataError",
    "UntrustedTargetError",
    "build_data",
    "convert",
    "convert_classifier",
    "describe_generator",
    "evaluations",
    "expect_checkpoint",
    "expect_free",
    "expect_hub_name",
    "expect_trusted",
    "export",
    "fetch",
    "in_units",
    "is_hub_name",
    "load",
    "load_classifier",
    "locate",
    "model_card",
    "needs_tokenizer",
    "newest",
    "newest_classifier",
    "push_to_hub",
    "read_foreign",
    "score",
    "trained_on",
    "with_steps",
]

_FILES = {
    "checkpoint": ("Checkpoint",),
    "classifier_checkpoint": ("ClassifierCheckpoint", "in_units", "load_classifier", "newest_classifier"),
    "classifier_conversion": ("convert_classifier",),
    "compatibility": ("describe_generator",),
    "conversion": ("convert", "expect_free", "read_foreign", "trained_on"),
    "data": ("build_data",),
    "errors": (
        "ClassifierMismatchError",
        "MissingClassifierError",
        "MissingDataError",
        "NoCheckpointError",
        "UndescribedDataError",
    ),
    "folders": ("evaluations", "expect_checkpoint", "locate", "newest"),
    "hub": ("fetch", "is_hub_name"),
    "loading": ("load",),
    "published.converted": ("Converted", "ConvertedClassifier"),
    "published.hub_folder": ("needs_tokenizer",),
    "samplers": ("with_steps",),
    "scoring": ("Scorer", "Scores", "score"),
    "transformers_export.card": ("RunResults", "model_card"),
    "transformers_export.folder": ("export",),
    "transformers_export.upload": ("expect_hub_name", "push_to_hub"),
    "trust": ("TARGETS", "UntrustedTargetError", "expect_trusted"),
}
_FILE_OF = {name: file for file, names in _FILES.items() for name in names}


def __getattr__(name: str) -> Any:
    # Command lines look for folders before they wait for transformers and the data. No module is called as a name: its
    # import would put the module in the name's place.
    if name not in _FILE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
