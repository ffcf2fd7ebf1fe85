"""What a classifier learns to tell: the class of a sequence, or a Gaussian for a number."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_f1_score,
)
from torchmetrics.functional.regression import mean_squared_error, r2_score

from discrete_diffusion.checkpoints import in_units
from discrete_diffusion.datasets import Label, SequenceData

LEVELS = 10
WITHIN_SIGMA = math.erf(math.sqrt(0.5))  # of a normal law


class Target(Protocol):
    """What is learned of a column."""

    @property
    def column(self) -> str:
        """The column of the data that holds the answers."""
        ...

    @property
    def num_outputs(self) -> int:
        """How many numbers the network returns."""
        ...

    def loss(self, outputs: Tensor, answers: Tensor) -> Tensor:
        """Nats, unreduced, of outputs (n, outputs) and answers (n,)."""
        ...

    def measure(self, outputs: Tensor, answers: Tensor) -> dict[str, float | None]:
        """Named numbers for the same; None is what so few answers leave undefined."""
        ...

    def describe(self, answers: Tensor) -> str:
        """What is told, in words."""
        ...


@dataclass(frozen=True)
class Classes:
    """The class of a sequence, by cross-entropy.

    Classes are rarely of one size, and accuracy alone says little then: `majority` is what the commonest answer would
    reach. `ece` is the expected calibration error over 10 bins of confidence (Guo et al. 2017, arXiv 1706.04599). The
    positive class of two is the last.
    """

    label: Label
    column: str = "label"

    @property
    def num_outputs(self) -> int:
        """One logit a class."""
        return self.label.num_classes

    def loss(self, outputs: Tensor, answers: Tensor) -> Tensor:
        """-log p(answer)."""
        return F.cross_entropy(outputs, answers, reduction="none")

    def measure(self, outputs: Tensor, answers: Tensor) -> dict[str, float | None]:
        """Accuracy, F1 and calibration."""
        classes, probabilities = self.num_outputs, outputs.softmax(-1)
        f1 = multiclass_f1_score(probabilities, answers, classes, average="none")
        return {
            "accuracy": multiclass_accuracy(probabilities, answers, classes, average="micro").item(),
            **({"f1_positive": f1[1].item()} if classes == 2 else {}),
            "f1_macro": multiclass_f1_score(probabilities, answers, classes, average="macro").item(),
            "ece": multiclass_calibration_error(probabilities, answers, classes, n_bins=10, norm="l1").item(),
            "majority": answers.bincount().max().item() / len(answers),
        }

    def describe(self, answers: Tensor) -> str:
        """The classes and their shares."""
        shares = (answers.bincount(minlength=self.num_outputs) / len(answers)).tolist()
        named = zip(self.label.class_names, shares, strict=True)
        return ", ".join(f"{name}: {share:.0%}" for name, share in list(named)[:6])


@dataclass(frozen=True)
class Quantity:
    """A number, by the likelihood of a Gaussian whose mean and log standard deviation the network returns.

    The network works in standard units, (number - center) / scale; `in_units` turns what it returns into the column's.
    """

    column: str
    center: float
    scale: float
    num_outputs: int = 2

    @classmethod
    def of(cls, column: str, data: SequenceData) -> "Quantity":
        """The mean and standard deviation of the training rows.

        Raises:
            ValueError: if the column is missing, holds no finite numbers, or does not vary.
        """
        columns = data.rows.column_names
        if column not in columns:
            kept = [name for name in columns if name != "input_ids"]
            raise ValueError(f"Expected a column {column!r} to regress; the columns are {', '.join(kept)}.")
        try:
            parts = [np.asarray(part.with_format(None)[column][:], np.float64) for part in (data.rows, data.validation)]
        except (TypeError, ValueError) as error:
            raise ValueError(f"Expected numbers in the column {column!r}: {error}.") from error
        if not all(np.isfinite(part).all() for part in parts):
            raise ValueError(f"Expected a finite number in every row of the column {column!r}.")
        center, scale = float(parts[0].mean()), float(parts[0].std())
        if scale == 0:
            raise ValueError(f"Expected numbers that differ in the column {column!r}, got {center:g} throughout.")
        return cls(column, center, scale)

    def in_units(self, outputs: Tensor) -> Tensor:
        """Mean and log standard deviation in the column's units."""
        return in_units(outputs, center=self.center, scale=self.scale)

    def loss(self, outputs: Tensor, answers: Tensor) -> Tensor:
        """-log N(answer; mean, std^2) in standard units."""
        mean, log_std = outputs.unbind(-1)
        z = (answers.to(mean.dtype) - self.center) / self.scale
        return F.gaussian_nll_loss(mean, z, (2 * log_std).exp(), full=True, reduction="none")

    def measure(self, outputs: Tensor, answers: Tensor) -> dict[str, float | None]:
        """R², root mean square error in the column's units, and the share of data within one predicted sigma."""
        mean, log_std = self.in_units(outputs.double()).unbind(-1)
        answers = answers.double()
        spread = len(answers) > 1 and bool((answers != answers[0]).any())
        return {
            "r2": r2_score(mean, answers).item() if spread else None,
            "rmse": mean_squared_error(mean, answers, squared=False).item(),
            "within_sigma": ((answers - mean).abs() <= log_std.exp()).double().mean().item(),
            "normal_within_sigma": WITHIN_SIGMA,
        }

    def describe(self, answers: Tensor) -> str:
        """Mean and standard deviation."""
        return f"{self.column}: {self.center:.3g} ± {self.scale:.3g}"

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {"column": self.column, "center": self.center, "scale": self.scale}


def by_level(
    target: Target, outputs: Tensor, answers: Tensor, levels: Tensor, bins: int = LEVELS
) -> list[Mapping[str, float | None]]:
    """What `target` measures in each of `bins` equal parts of [0, 1] that has any answers.

    A level on a border is counted above it, and 1 in the last part.
    """
    # the bin of 0.3 is found as 0.3 * 10 in the levels' own precision, which is 3 exactly; 0.3 // 0.1 would be 2
    place = (levels * bins).long().clamp(max=bins - 1)
    rows: list[Mapping[str, float | None]] = []
    for part in range(bins):
        inside = place == part
        if not inside.any():
            continue
        nats = target.loss(outputs[inside], answers[inside]).mean().item()
        measured = target.measure(outputs[inside], answers[inside])
        bounds = {"level_from": part / bins, "level_to": (part + 1) / bins, "rows": int(inside.sum())}
        rows.append({**bounds, "nats": nats, **measured})
    return rows
