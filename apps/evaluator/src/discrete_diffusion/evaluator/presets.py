"""What the configuration says of each guidance method."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

LEVELS = ("hidden", "denoiser", "kernel", "search")
KINDS = ("noisy", "prefix", "hidden")


@dataclass(frozen=True)
class Preset:
    """One key under `guidance`.

    Attributes:
        key: that key.
        name: the method's name, for people.
        level: what the method is put around: the denoiser that it opens ("hidden"), the denoiser, the kernel, or, as a
            "search", the whole walk from noise to data.
        needs_labels: whether the model must have been trained with labels.
        classifier: which classifier it asks, and for what; None if it asks none.
    """

    key: str
    name: str
    level: str
    needs_labels: bool = False
    classifier: Mapping[str, Any] | None = None


def read_presets(guidance: DictConfig) -> dict[str, Preset]:
    """Every preset of the configuration, by its key, in order.

    Raises:
        ValueError: if one is not whole.
    """
    return {str(key): _read(str(key), guidance[key]) for key in guidance}


def _read(key: str, node: Any) -> Preset:
    settings = OmegaConf.to_container(node, resolve=False) if isinstance(node, DictConfig) else node
    if not isinstance(settings, dict) or not {"name", "level", "method"} <= settings.keys():
        raise ValueError(
            f"Expected `name`, `level` and `method` under `guidance.{key}`: a preset is one key with these three in it."
        )
    if settings["level"] not in LEVELS:
        raise ValueError(f"Expected `guidance.{key}.level` to be one of {', '.join(LEVELS)}, got {settings['level']}.")
    needs = settings.get("needs") or []
    if needs not in ([], ["labels"]):
        raise ValueError(f"Expected `guidance.{key}.needs` to be [] or [labels], got {needs}.")
    classifier = settings.get("classifier")
    if classifier is not None and classifier.get("kind") not in KINDS:
        raise ValueError(
            f"Expected `guidance.{key}.classifier.kind` to be one of {', '.join(KINDS)}, got {classifier.get('kind')}."
        )
    return Preset(key, settings["name"], settings["level"], bool(needs), classifier)
