"""Prediction targets of classifiers: the class of a sequence, or a Gaussian for a number."""

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
WITHIN_SIGMA = math.erf(math.sqrt(0.5))  # probability of a normal distribution


class Target(Protocol):
    """Prediction target in a column of the data."""

    @property
    def column(self) -> str:
        """Column with the answers."""
        ...

    @property
    def num_outputs(self) -> int:
        """Number of outputs of the network."""
        ...

    def loss(self, outputs: Tensor, answers: Tensor) -> Tensor:
        """Return the loss of outputs (n, outputs) and answers (n,), in nats, unreduced."""
        ...

    def measure(self, outputs: Tensor, answers: Tensor) -> dict[str, float | None]:
        """Return named measures; None means undefined for so few answers."""
        ...

    def describe(self, answers: Tensor) -> str:
        """Describe the answers."""
        ...


@dataclass(frozen=True)
class Classes:
    """Class of a sequence, trained with cross-entropy.

    If the classes differ in size, compare the accuracy with `majority`, that of always predicting the most common
    class. `ece` is the expected calibration error over 10 bins of confidence (Guo et al. 2017, arXiv 1706.04599). The
    positive class of two is the last.
    """

    label: Label
    column: str = "label"

    @property
    def num_outputs(self) -> int:
        """Number of classes, with one logit each."""
        return self.label.num_classes

    def loss(self, outputs: Tensor, answers: Tensor) -> Tensor:
        """Return -log p(answer)."""
        return F.cross_entropy(outputs, answers, reduction="none")

    def measure(self, outputs: Tensor, answers: Tensor) -> dict[str, float | None]:
        """Return accuracy, F1 and calibration error."""
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
        """Describe the classes and their fractions."""
        shares = (answers.bincount(minlength=self.num_outputs) / len(answers)).tolist()
        named = zip(self.label.class_names, shares, strict=True)
        return ", ".join(f"{name}: {share:.0%}" for name, share in list(named)[:6])


@dataclass(frozen=True)
class Quantity:
    """Number, trained with the likelihood of a Gaussian whose mean and log standard deviation the network returns.

    The network works in standard units, (number - center) / scale; `in_units` turns what it returns into the column's.
    """

    column: str
    center: float
    scale: float
    num_outputs: int = 2

    @classmethod
    def of(cls, column: str, data: SequenceData) -> "Quantity":
        """Standardize with the mean and standard deviation of the training rows.

        Raises:
            ValueError: If the column is missing, has values that are not finite numbers, or is constant.
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
        """Return the mean and log standard deviation in the units of the column."""
        return in_units(outputs, center=self.center, scale=self.scale)

    def loss(self, outputs: Tensor, answers: Tensor) -> Tensor:
        """Return -log N(answer; mean, std^2) in standard units."""
        mean, log_std = outputs.unbind(-1)
        z = (answers.to(mean.dtype) - self.center) / self.scale
        return F.gaussian_nll_loss(mean, z, (2 * log_std).exp(), full=True, reduction="none")

    def measure(self, outputs: Tensor, answers: Tensor) -> dict[str, float | None]:
        """Return R², the root mean square error in the column's units, and the fraction within one predicted sigma."""
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
        """Describe the mean and standard deviation."""
        return f"{self.column}: {self.center:.3g} ± {self.scale:.3g}"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON representation."""
        return {"column": self.column, "center": self.center, "scale": self.scale}


def by_level(
    target: Target, outputs: Tensor, answers: Tensor, levels: Tensor, bins: int = LEVELS
) -> list[Mapping[str, float | None]]:
    """Return the measures of `target` in each of `bins` equal parts of [0, 1] with answers.

    A level on a border belongs to the upper part, and 1 to the last part.
    """
    # 0.3 * 10 is exactly 3 in the precision of the levels, but 0.3 // 0.1 is 2.
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
