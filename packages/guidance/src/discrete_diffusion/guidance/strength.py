"""Guidance strength as a number or a function of time."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Strength: TypeAlias = float | int | Callable[[Tensor], Tensor]
"""Guidance scale gamma: a number >= 0, or a function of t (b,) that returns one for each row of the batch, (b,)."""


def check_strength(gamma: Strength, name: str = "gamma") -> None:
    """Raise unless `gamma` is a finite number >= 0 or a function, whose values are checked when it is called.

    Raises:
        ValueError: If `gamma` is a number that is negative or not finite.
    """
    if not callable(gamma) and not (math.isfinite(gamma) and gamma >= 0):
        raise ValueError(f"Expected a finite `{name}` >= 0, got {gamma}.")


def strength_at(gamma: Strength, t: Float[Tensor, " b"], dtype: torch.dtype | None = None) -> Float[Tensor, " b"]:
    """Return the strength of each row at time t, in `dtype`, or the dtype of `t` if None.

    Raises:
        ValueError: If a function returns a shape other than that of `t`.
    """
    dtype = t.dtype if dtype is None else dtype
    if not callable(gamma):
        return torch.full_like(t, gamma, dtype=dtype)
    strength = gamma(t)
    if strength.shape != t.shape:
        raise ValueError(
            f"Expected `gamma` to return one strength per row, {tuple(t.shape)}, got {tuple(strength.shape)}."
        )
    return strength.to(dtype)


def strength_range(gamma: Strength, t: Float[Tensor, " b"]) -> tuple[float, float]:
    """Return the least and the greatest strength in the batch.

    Methods use it to skip work that no row needs. A number costs no synchronization with the device, a function one.

    Raises:
        ValueError: If a function returns a strength that is negative or not finite.
    """
    if not callable(gamma):
        return float(gamma), float(gamma)
    if not len(t):
        return 0.0, 0.0
    least, greatest = torch.stack(strength_at(gamma, t).aminmax()).tolist()
    if not (least >= 0 and math.isfinite(greatest)):
        raise ValueError(f"Expected finite strengths >= 0 from `gamma`, got {least} to {greatest}.")
    return least, greatest


@dataclass(frozen=True)
class Ramp:
    """Linear strength: gamma(t) = start + (end - start) (1 - t).

    Args:
        start: Strength at noise, t = 1.
        end: Strength at the data, t = 0.

    Raises:
        ValueError: If a strength is negative or not finite.
    """

    start: float | int
    end: float | int

    def __post_init__(self) -> None:
        check_strength(self.start, "start")
        check_strength(self.end, "end")

    def __call__(self, t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return gamma(t)."""
        return self.start * t + self.end * (1 - t)


@dataclass(frozen=True)
class CosineRamp:
    """Smooth strength, level at both ends: gamma(t) = start + (end - start) (1 + cos(pi t)) / 2.

    Args:
        start: Strength at noise, t = 1.
        end: Strength at the data, t = 0.

    Raises:
        ValueError: If a strength is negative or not finite.
    """

    start: float | int
    end: float | int

    def __post_init__(self) -> None:
        check_strength(self.start, "start")
        check_strength(self.end, "end")

    def __call__(self, t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return gamma(t)."""
        share = (1 + (math.pi * t).cos()) / 2
        return self.start * (1 - share) + self.end * share


@dataclass(frozen=True)
class Interval:
    """Strength in an interval of time: gamma for first <= t <= last, `outside` elsewhere (after arXiv 2404.07724).

    t is the time at which a step begins, so it is never 0. Guidance of strength 0 costs nothing.

    Args:
        gamma: Strength inside the interval, a number or a function of t.
        first: End of the interval nearer the data.
        last: End of the interval nearer the noise.
        outside: Strength outside the interval, a number or a function of t.

    Raises:
        ValueError: If the interval is not within [0, 1], or a strength is negative or not finite.
    """

    gamma: Strength
    first: float | int
    last: float | int
    outside: Strength = 0

    def __post_init__(self) -> None:
        check_strength(self.gamma)
        check_strength(self.outside, "outside")
        if not 0 <= self.first <= self.last <= 1:
            raise ValueError(f"Expected 0 <= `first` <= `last` <= 1, got {self.first} and {self.last}.")

    def __call__(self, t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return gamma(t)."""
        inside = (self.first <= t) & (t <= self.last)
        return strength_at(self.gamma, t).where(inside, strength_at(self.outside, t))
