"""What samples are asked for: the points of the sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from omegaconf import DictConfig
from torch import Tensor

from discrete_diffusion.datasets import Label
from discrete_diffusion.evaluator.rows import Row

EACH = "each"
"""As a `label`: all classes, one sample after another."""


@dataclass(frozen=True)
class Condition:
    """One point of the sweep.

    Attributes:
        guidance: the names of what guides, or "none".
        gamma: its strength; None without guidance.
        condition: what was asked for, in words.
        samples: how many samples, for each seed.
        label: the class of every sample, or None.
        drawn: whether each sample has a class of its own, drawn from the training data.
        row: the name of its row in a suite, "" without one.
        each: the number of classes, where samples are of one after another.
    """

    guidance: str
    gamma: float | None
    condition: str
    samples: int
    label: int | None = None
    drawn: bool = False
    row: str = ""
    each: int = 0

    def name(self) -> str:
        """For file names."""
        if self.gamma is None:
            return "data-labels" if self.drawn else "unguided"
        return f"{self.row}_gamma-{self.gamma:g}" if self.row else f"gamma-{self.gamma:g}"

    def title(self) -> str:
        """For pictures."""
        if not self.gamma:
            return self.condition
        return f"{self.guidance + ', ' if self.row else ''}γ = {self.gamma:g}, {self.condition}"

    def labels(self, training: Tensor | None, seed: int) -> Tensor | None:
        """The class of each sample, (samples,); `training` are the classes of the training rows."""
        if self.drawn:
            assert training is not None
            generator = torch.Generator().manual_seed(seed)
            return training[torch.randint(len(training), (self.samples,), generator=generator)]
        if self.each:
            return torch.arange(self.samples) % self.each
        return None if self.label is None else torch.full((self.samples,), self.label)


def sweep(
    config: DictConfig, label: Label | None, rows: Sequence[Row], wanted: Mapping[str, str]
) -> dict[Condition, Row | None]:
    """The points of all rows, in the order in which they are run, and the row of each; None is no guidance.

    Args:
        rows: as `rows.rows` gives them.
        wanted: what each preset steers toward, in words, by its key; one that is not there steers toward the class.

    Raises:
        ValueError: if the model has no labels and one is named, or the class does not exist.
    """
    every = config.label == EACH
    if every and label is None:
        raise ValueError("The model was trained without labels: leave out `label`.")
    target = asked_class(None if every else config.label, label)
    null = None if label is None else label.num_classes
    points: dict[Condition, Row | None] = {}
    unguided = Condition("none", None, "unconditional", config.samples, null)
    if config.suite is not None or not any(row.gammas for row in rows):
        points[unguided] = None
    for row in rows:
        own = row.guidance if label is None else "each class" if every else label.class_names[target]
        if every and (preset := next((one for one in row.presets if one.classifier is not None), None)):
            raise ValueError(f"Expected one class in `label` for {preset.name}: its classifier steers toward one.")
        toward = " and ".join(dict.fromkeys(wanted.get(preset.key, own) for preset in row.presets))
        y = target if row.needs_labels else null
        each = label.num_classes if label is not None and every and row.needs_labels else 0
        for gamma in row.gammas:
            words = toward if gamma else "unconditional"
            points[Condition(row.guidance, gamma, words, row.samples, y, row=row.name, each=each)] = row
    if label is not None and config.data_labels:
        points[Condition("none", None, "as in the data", config.samples, drawn=True)] = None
    return points


def asked_class(asked: int | None, label: Label | None) -> int:
    """The class that is steered toward, the last unless told otherwise; -1 without classes.

    Raises:
        ValueError: if there is no such class.
    """
    if label is None:
        if asked is not None:
            raise ValueError("The model was trained without labels: leave out `label`.")
        return -1
    named = ", ".join(f"{index} ({name})" for index, name in enumerate(label.class_names))
    if asked is not None and (not isinstance(asked, int) or not 0 <= asked < label.num_classes):
        raise ValueError(f"Expected `label` to be one of {named}, got {asked}.")
    return label.num_classes - 1 if asked is None else asked
