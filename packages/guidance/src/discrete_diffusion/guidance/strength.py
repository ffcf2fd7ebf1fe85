"""How strongly guidance steers, as a number or as a function of time."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Strength = float | int | Callable[[Tensor], Tensor]
"""A number, or a function of t (b,) that returns one number >= 0 for each row of the batch, (b,)."""


def check_strength(gamma: Strength, name: str = "gamma") -> None:
    """Raise unless a number is finite and at least 0; what a function returns is checked where it is called."""
    if not callable(gamma) and not (math.isfinite(gamma) and gamma >= 0):
        raise ValueError(f"Expected a finite `{name}` >= 0, got {gamma}.")


def strength_at(gamma: Strength, t: Float[Tensor, " b"], dtype: torch.dtype | None = None) -> Float[Tensor, " b"]:
    """Return the strength of each row at time t, in `dtype`, that of `t` if None.

    Raises:
        ValueError: a function returned another shape than that of `t`.
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
    """Return the least and the greatest strength in the batch, so that work which none of its rows needs is left out.

    A number costs no synchronization with the device, a function one.

    Raises:
        ValueError: a function returned a negative or infinite strength or NaN.
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
    """gamma(t) = start + (end - start) (1 - t): `start` at noise (t = 1), `end` at the data (t = 0)."""

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
    """gamma(t) = start + (end - start) (1 + cos(pi t)) / 2: as `Ramp`, level at both ends."""

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
    """gamma for first <= t <= last, `outside` elsewhere (after arXiv 2404.07724, who guide images so).

    t is the time a step begins at, so that t = 0 is never asked for. Where the strength is 0 guidance costs nothing.

    Args:
        gamma: inside, a number or a function of t.
        first: the end nearer the data.
        last: the end nearer the noise.
        outside: elsewhere, a number or a function of t.
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
