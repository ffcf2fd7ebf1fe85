"""Points of a sweep."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from discrete_diffusion.datasets import Label
from discrete_diffusion.evaluator.methods import Method
from discrete_diffusion.evaluator.requested import RequestedValues
from discrete_diffusion.guidance import SampleStreams

EACH = "each"
"""Value of `label` that requests every class in turn."""


@dataclass(frozen=True)
class Point:
    """One setting of a sweep: guidance methods at one scale, toward one target.

    Attributes:
        guidance: Names of the methods, or "none".
        gamma: Guidance scale; None without guidance.
        condition: Target in words, for people.
        samples: Number of samples for each seed.
        label: Class index passed to the model for every sample, or None.
        data_labels: Whether each sample has its own class, drawn from the training data.
        row: Name of the row of the suite, "" without a suite.
        each: Number of classes if samples request every class in turn, else 0.
        sampler: Name of the sampler where samplers are compared, else "".
        setting: Its setting that changes, as in "steps=32" or "k=2"; "" if none does.
        steps: Its number of steps; None if it chooses its own, or samplers are not compared.
        methods: The guidance methods, innermost first.
    """

    guidance: str
    gamma: float | None
    condition: str
    samples: int
    label: int | None = None
    data_labels: bool = False
    row: str = ""
    each: int = 0
    sampler: str = ""
    setting: str = ""
    steps: int | None = None
    methods: tuple[Method, ...] = field(default=(), compare=False, repr=False)

    def columns(self) -> dict[str, str | float | None]:
        """Return the columns that identify the point in tables."""
        sampler = {"sampler": self.sampler, "setting": self.setting, "steps": self.steps} if self.sampler else {}
        return {**sampler, "guidance": self.guidance, "gamma": self.gamma, "condition": self.condition}

    def same_sampler(self, other: "Point") -> bool:
        """Return whether another point has the same sampler in the same setting."""
        return (self.sampler, self.setting) == (other.sampler, other.setting)

    def file_name(self) -> str:
        """Return the name of the point in file names."""
        sampler = [self.sampler.replace(" ", "-"), self.setting.replace("=", "-")]
        if self.gamma is None:
            guidance = "data-labels" if self.data_labels else "unguided"
        else:
            guidance = f"{self.row}_gamma-{self.gamma:g}" if self.row else f"gamma-{self.gamma:g}"
        return "_".join(part for part in (*sampler, guidance) if part)

    def title(self) -> str:
        """Return the name of the point in pictures."""
        # A class whose name is a number would read as a second γ.
        guidance = f"class {self.condition}" if self.condition.isdecimal() else self.condition
        if self.gamma:
            guidance = f"{self.guidance + ', ' if self.row else ''}γ = {self.gamma:g}, {guidance}"
        return ", ".join(part for part in (self.sampler, self.setting, guidance) if part)

    def labels(self, training: Int[Tensor, " n"] | None, seed: int) -> Int[Tensor, " samples"] | None:
        """Return the class of each sample.

        Args:
            training: Classes of the training rows, from which `data_labels` draws.
            seed: Seed of that draw.
        """
        if self.data_labels:
            assert training is not None
            uniform = SampleStreams(seed, torch.arange(self.samples)).apart().uniform((self.samples,))
            return training[(uniform * len(training)).long()]
        if self.each:
            return torch.arange(self.samples) % self.each
        return None if self.label is None else torch.full((self.samples,), self.label)


def target_class(requested: Any, label: Label | None) -> int:
    """Return the index of the target class: the last class by default, -1 for a model without classes.

    Args:
        requested: Index or name of the class; ignored for requested numbers, which are the only class.
        label: Classes of the model.

    Raises:
        ValueError: If there is no such class.
    """
    if label is None:
        if requested is not None:
            raise ValueError("The model was trained without labels: leave out `label`.")
        return -1
    if requested is None or isinstance(label, RequestedValues):
        return label.num_classes - 1
    if isinstance(requested, bool) and str(requested).lower() in label.class_names:
        requested = str(requested).lower()  # YAML reads the name of a class true as a boolean
    if requested in label.class_names:
        return label.class_names.index(str(requested))
    if isinstance(requested, bool) or not isinstance(requested, int) or not 0 <= requested < label.num_classes:
        names = ", ".join(f"{i} ({name})" for i, name in enumerate(label.class_names))
        raise ValueError(f"Expected `label` to be one of {names}, got {requested}.")
    return requested
