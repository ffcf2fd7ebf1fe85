"""Log-likelihoods of a condition, log p(y | x_t), from a classifier or a regressor."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from discrete_diffusion.guidance.protocols import LogLikelihood


@runtime_checkable
class Complemented(LogLikelihood, Protocol):
    """Log-likelihood that computes log(1 - p(y | x_t)) more accurately than from log p(y | x_t) alone."""

    def complement(self, x: Shaped[Tensor, "b ..."], t: Float[Tensor, " b"], /) -> Float[Tensor, " b"]:
        """Return log(1 - p(y | x_t))."""
        ...


@dataclass(frozen=True)
class ClassLikelihood:
    """log p(y = label | x_t): one column of a classifier.

    Args:
        classifier: (x, t) -> log p(y | x_t) of every class, (b, classes), normalized.
        label: Target class.

    Raises:
        ValueError: If `label` is negative.
    """

    classifier: Callable[[Tensor, Tensor], Tensor]
    label: int

    def __post_init__(self) -> None:
        if self.label < 0:
            raise ValueError(f"Expected `label` >= 0, got {self.label}.")

    def __call__(self, x: Shaped[Tensor, "b ..."], t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return log p(y = label | x_t).

        Raises:
            ValueError: If the classifier returns another shape, or too few classes.
        """
        return self._classes(x, t)[:, self.label]

    def complement(self, x: Shaped[Tensor, "b ..."], t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return log(1 - p) as the log-sum of the other classes, accurate even where p rounds to 1."""
        log_probs = self._classes(x, t)
        others = torch.arange(log_probs.shape[1], device=log_probs.device) != self.label
        return log_probs.masked_fill(~others, -math.inf).logsumexp(1)

    def _classes(self, x: Tensor, t: Tensor) -> Tensor:
        log_probs = self.classifier(x, t)
        if log_probs.ndim != 2 or self.label >= log_probs.shape[1]:
            raise ValueError(
                f"Expected the classifier to return (b, classes) with more than `label` = {self.label} classes, "
                f"got {tuple(log_probs.shape)}."
            )
        return log_probs


@dataclass(frozen=True)
class GaussianTarget:
    """log N(value; mean, std) of a property near a value, a log-density.

    Args:
        regressor: (x, t) -> (b, 2), the property's mean and the logarithm of its standard deviation given x_t.
        value: Target value, in units of the property.

    Raises:
        ValueError: If `value` is not finite.
    """

    regressor: Callable[[Tensor, Tensor], Tensor]
    value: float | int

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"Expected a finite `value`, got {self.value}.")

    def __call__(self, x: Shaped[Tensor, "b ..."], t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return the log-density at the value.

        Raises:
            ValueError: If the regressor returns another shape.
        """
        mean, log_std = _moments(self.regressor(x, t))
        return -0.5 * ((self.value - mean) * (-log_std).exp()) ** 2 - log_std - 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class GaussianAbove:
    """log P(property > threshold) = log Phi((mean - threshold) / std), accurate in both tails.

    Args:
        regressor: (x, t) -> (b, 2), the property's mean and the logarithm of its standard deviation given x_t.
        threshold: Threshold, in units of the property.
        below: Use log P(property < threshold) instead.

    Raises:
        ValueError: If `threshold` is not finite.
    """

    regressor: Callable[[Tensor, Tensor], Tensor]
    threshold: float | int
    below: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.threshold):
            raise ValueError(f"Expected a finite `threshold`, got {self.threshold}.")

    def __call__(self, x: Shaped[Tensor, "b ..."], t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return the log-probability of that side of the threshold.

        Raises:
            ValueError: If the regressor returns another shape.
        """
        return torch.special.log_ndtr(-self._excess(x, t) if self.below else self._excess(x, t))

    def complement(self, x: Shaped[Tensor, "b ..."], t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return the log-probability of the other side."""
        return torch.special.log_ndtr(self._excess(x, t) if self.below else -self._excess(x, t))

    def _excess(self, x: Tensor, t: Tensor) -> Tensor:
        mean, log_std = _moments(self.regressor(x, t))
        return (mean - self.threshold) * (-log_std).exp()


@dataclass(frozen=True)
class GaussianBetween:
    """log P(low < property < high) = log(Phi((high - mean) / std) - Phi((low - mean) / std)), accurate in both tails.

    The relative error of the probability is that of the precision, divided by (high - low) / std where this is below 1.

    Args:
        regressor: (x, t) -> (b, 2), the property's mean and the logarithm of its standard deviation given x_t.
        low: Lower end of the range, in units of the property.
        high: Upper end of the range.

    Raises:
        ValueError: If the ends are not finite, or `low` is not below `high`.
    """

    regressor: Callable[[Tensor, Tensor], Tensor]
    low: float | int
    high: float | int

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"Expected finite `low` < `high`, got {self.low} and {self.high}.")

    def __call__(self, x: Shaped[Tensor, "b ..."], t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return the log-probability of the range.

        Raises:
            ValueError: If the regressor returns another shape.
        """
        low, high = self._ends(x, t)
        # Phi(high) - Phi(low) = Phi(-low) - Phi(-high): take the side on which both are small.
        above = low + high > 0
        low, high = torch.where(above, -high, low), torch.where(above, -low, high)
        larger, smaller = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
        return larger + _log1mexp(smaller - larger)

    def complement(self, x: Shaped[Tensor, "b ..."], t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return the log-probability of a value outside the range."""
        low, high = self._ends(x, t)
        return torch.logaddexp(torch.special.log_ndtr(low), torch.special.log_ndtr(-high))

    def _ends(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return both ends in standard deviations from the mean."""
        mean, log_std = _moments(self.regressor(x, t))
        return (self.low - mean) * (-log_std).exp(), (self.high - mean) * (-log_std).exp()


@dataclass(frozen=True)
class Not:
    """log(1 - p(y | x_t)): a condition to avoid.

    A `Complemented` likelihood computes it in its own method. For others it is computed from log p, accurately near
    p = 0, and near p = 1 as accurately as log p itself.

    Args:
        likelihood: Log-probability of the condition to avoid.

    Raises:
        ValueError: If `likelihood` is a density, `GaussianTarget`.
    """

    likelihood: LogLikelihood

    def __post_init__(self) -> None:
        if isinstance(self.likelihood, GaussianTarget):
            raise ValueError(
                "Expected a probability in `Not`, got the density GaussianTarget: use GaussianAbove or GaussianBetween."
            )

    def __call__(self, x: Shaped[Tensor, "b ..."], t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return the log-probability that the condition does not hold."""
        if isinstance(self.likelihood, Complemented):
            return self.likelihood.complement(x, t)
        return _log1mexp(self.likelihood(x, t))

    def complement(self, x: Shaped[Tensor, "b ..."], t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return the log-probability that the condition holds."""
        return self.likelihood(x, t)


def _moments(output: Tensor) -> tuple[Tensor, Tensor]:
    if output.ndim != 2 or output.shape[1] != 2:
        raise ValueError(f"Expected the regressor to return (b, 2), mean and log std, got {tuple(output.shape)}.")
    return output[:, 0], output[:, 1]


def _log1mexp(log_p: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return log(1 - exp(log p)), on each side of p = 1/2 in the form that does not cancel."""
    log_p = log_p.clamp(max=0)
    likely = log_p > -math.log(2)
    # Each form gets only the values of its own side, so that no gradient is 0 * inf.
    near_one = (-torch.expm1(log_p.where(likely, -1.0))).log()
    near_zero = torch.log1p(-log_p.where(~likely, -1.0).exp())
    return near_one.where(likely, near_zero)
