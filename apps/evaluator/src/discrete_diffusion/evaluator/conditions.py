"""What samples are asked for: the points of the sweep."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from discrete_diffusion.datasets import Label
from discrete_diffusion.evaluator.generation import Wrapper

GAMMAS = (0, 1, 2, 3, 5)


@dataclass(frozen=True)
class Condition:
    """One point of the sweep.

    Attributes:
        guidance: the name of the guidance, or "none".
        gamma: its strength; None without guidance.
        condition: what was asked for, in words.
        label: the class of every sample, or None.
        drawn: whether each sample has a class of its own, drawn from the training data.
    """

    guidance: str
    gamma: float | None
    condition: str
    label: int | None = None
    drawn: bool = False

    def name(self) -> str:
        """For file names."""
        return f"gamma-{self.gamma:g}" if self.gamma is not None else "data-labels" if self.drawn else "unguided"

    def labels(self, samples: int, training: Tensor | None, seed: int) -> Tensor | None:
        """The class of each sample, (samples,); `training` are the classes of the training rows."""
        if self.drawn:
            assert training is not None
            generator = torch.Generator().manual_seed(seed)
            return training[torch.randint(len(training), (samples,), generator=generator)]
        return None if self.label is None else torch.full((samples,), self.label)


def sweep(config: DictConfig, label: Label | None) -> list[Condition]:
    """The points that `config` asks for of a model with this label.

    Raises:
        ValueError: if the model has no labels and something needs them, a class does not exist, or gamma < 0.
    """
    target = _class(config.label, label)
    gammas = GAMMAS if config.gammas is None else tuple(config.gammas)
    bad = [g for g in gammas if isinstance(g, (bool, str)) or g is None or not (math.isfinite(g) and g >= 0)]
    if bad or len(set(gammas)) < len(gammas):
        raise ValueError(f"Expected distinct numbers >= 0 in `gammas`, got {list(gammas)}.")
    guided = label is not None or not config.guidance.needs_labels
    if not guided and config.gammas is not None:
        raise ValueError(
            f"Expected no `gammas`: {config.guidance.name} guidance needs labels, and the model was trained without."
        )
    null = None if label is None else label.num_classes
    name = config.guidance.name
    if not guided or not gammas:
        points = [Condition("none", None, "unconditional", null)]
    elif label is None or not config.guidance.needs_labels:
        points = [Condition(name, float(gamma), name if gamma else "unconditional", null) for gamma in gammas]
    else:
        toward = label.class_names[target]
        points = [Condition(name, float(g), toward if g else "unconditional", target) for g in gammas]
    if label is not None and config.data_labels:
        points.append(Condition("none", None, "as in the data", drawn=True))
    return points


def wrappers(config: DictConfig, point: Condition, label: Label | None) -> tuple[Sequence[Wrapper], Sequence[Wrapper]]:
    """What is put around the denoiser, and around the kernel: guidance first, then temperature and nucleus."""
    on_denoiser: list[dict[str, Any]] = []
    on_kernel: list[dict[str, Any]] = []
    if point.gamma is not None:
        filled = OmegaConf.merge(config, {"gamma": point.gamma, "null_label": label and label.num_classes})
        guidance: Any = OmegaConf.to_container(filled.guidance, resolve=True)
        on_denoiser, on_kernel = [*guidance["denoiser"]], [*guidance["kernel"]]
    for name, argument in (("Temperature", "temperature"), ("Nucleus", "p")):
        value = config.sampling["nucleus" if argument == "p" else argument]
        if value != 1:
            on_denoiser.append({"_target_": f"discrete_diffusion.guidance.{name}", "_partial_": True, argument: value})
    return instantiate(on_denoiser), instantiate(on_kernel)


def _class(asked: int | None, label: Label | None) -> int:
    if label is None:
        if asked is not None:
            raise ValueError("The model was trained without labels: leave out `label`.")
        return -1
    named = ", ".join(f"{index} ({name})" for index, name in enumerate(label.class_names))
    if asked is not None and (not isinstance(asked, int) or not 0 <= asked < label.num_classes):
        raise ValueError(f"Expected `label` to be one of {named}, got {asked}.")
    return label.num_classes - 1 if asked is None else asked
