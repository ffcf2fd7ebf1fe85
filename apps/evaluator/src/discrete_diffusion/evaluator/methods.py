"""Guidance methods in the configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

LEVELS = ("hidden", "denoiser", "kernel", "search")
CLASSIFIER_KINDS = ("noisy", "prefix", "hidden")


@dataclass(frozen=True)
class Method:
    """One key under `guidance`.

    Attributes:
        key: The key.
        name: Name of the method, for people.
        level: What the method wraps: the hidden states of the denoiser ("hidden"), the "denoiser", the "kernel", or
            the whole trajectory from noise to data ("search").
        needs_labels: Whether the model must have been trained with labels.
        classifier: Kind of the classifier and its target; None for a method without a classifier.
    """

    key: str
    name: str
    level: str
    needs_labels: bool = False
    classifier: Mapping[str, Any] | None = None


def read_methods(config: DictConfig, level: str | None = None) -> dict[str, Method]:
    """Return each method under `guidance` by its key, in order.

    Args:
        config: The `guidance` of the configuration.
        level: Level of all methods; by default each has its own.

    Raises:
        ValueError: If a method lacks a key or has a wrong value.
    """
    return {str(key): _read_method(str(key), config[key], level) for key in config}


def _read_method(key: str, node: Any, level: str | None) -> Method:
    settings = OmegaConf.to_container(node, resolve=False) if isinstance(node, DictConfig) else node
    if not isinstance(settings, dict) or not {"name", "level", "method"} <= settings.keys():
        raise ValueError(f"Expected `name`, `level` and `method` under `guidance.{key}`, got {settings}.")
    level = settings["level"] if level is None else level
    if level not in LEVELS:
        raise ValueError(f"Expected `guidance.{key}.level` to be one of {', '.join(LEVELS)}, got {level}.")
    needs = settings.get("needs") or []
    if needs not in ([], ["labels"]):
        raise ValueError(f"Expected `guidance.{key}.needs` to be [] or [labels], got {needs}.")
    classifier = settings.get("classifier")
    if classifier is not None and classifier.get("kind") not in CLASSIFIER_KINDS:
        kinds = ", ".join(CLASSIFIER_KINDS)
        raise ValueError(
            f"Expected `guidance.{key}.classifier.kind` to be one of {kinds}, got {classifier.get('kind')}."
        )
    # A method that is defined at several levels is named after its level, unless that is the default, the first.
    name = settings["name"] if level == settings.get("levels", [level])[0] else f"{settings['name']} ({level})"
    return Method(key, name, level, bool(needs), classifier)
