"""Time grids for sampling and random times for training."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from discrete_diffusion.schedules.rows import draw_rows
from discrete_diffusion.schedules.schedule import Schedule


def uniform_grid(steps: int) -> Float[Tensor, " times"]:
    """Return the sampling grid 1 = t_0 > t_1 > ... > t_steps = 0 with equal steps in time.

    Raises:
        ValueError: If `steps` < 1.
    """
    _expect_steps(steps)
    return torch.linspace(1, 0, steps + 1, dtype=torch.float64)


def survival_grid(schedule: Schedule, steps: int) -> Float[Tensor, " times"]:
    """Return the sampling grid from 1 to 0 with equal steps in alpha, so that every step restores as many tokens.

    Raises:
        ValueError: If `steps` < 1.
    """
    _expect_steps(steps)
    ends = schedule.alpha(torch.tensor([1.0, 0.0], dtype=torch.float64))
    alphas = ends[0] + (ends[1] - ends[0]) * torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    times = schedule.inverse(alphas)
    return torch.cat([times.new_ones(1), times[1:-1], times.new_zeros(1)])


@dataclass(frozen=True)
class IndependentTimes:
    """Training times drawn independently and uniformly from [t_min, 1].

    A positive `t_min` bounds the variance of the loss, whose weight grows like 1 / t near the data.

    Args:
        t_min: Smallest time.

    Raises:
        ValueError: If `t_min` is not in [0, 1).
    """

    t_min: float = 1e-3

    def __post_init__(self) -> None:
        _expect_t_min(self.t_min)

    def __call__(self, n: int, *, generator: Generator | None = None) -> Float[Tensor, " n"]:
        """Draw n times on the generator's device."""
        device = None if generator is None else generator.device
        u = draw_rows(lambda rows, source: torch.rand(rows, generator=source, device=device), n, generator)
        return 1 - (1 - self.t_min) * u


@dataclass(frozen=True)
class LowDiscrepancyTimes:
    """Training times spread evenly over [t_min, 1]: (u + i / n) mod 1 for row i, with one uniform u per batch.

    The time of each row is uniform, so the loss of every row is unbiased. The n times are equally spaced, which reduces
    the variance of the batch mean (VDM, arXiv 2107.00630, appendix I.1). The published code calls this antithetic
    sampling but restricts row i to the i-th stratum, so only its mean over the batch is unbiased.

    Args:
        t_min: Smallest time.

    Raises:
        ValueError: If `t_min` is not in [0, 1).
    """

    t_min: float = 1e-3

    def __post_init__(self) -> None:
        _expect_t_min(self.t_min)

    def __call__(self, n: int, *, generator: Generator | None = None) -> Float[Tensor, " n"]:
        """Draw n times on the generator's device."""
        device = None if generator is None else generator.device
        strata = draw_rows(
            lambda rows, source: (
                (torch.rand(1, generator=source, device=device) + torch.arange(rows, device=device) / rows) % 1
            ),
            n,
            generator,
        )
        return 1 - (1 - self.t_min) * strata


# A tensor has no equality that is a single truth value.
@dataclass(frozen=True, eq=False)
class StratifiedTimes:
    """Times of repeated estimates of the same rows: row i is uniform in a stratum of [t_min, 1] of its own.

    If the strata cover the interval and each has rows in proportion to its width, the mean of the estimates is unbiased
    and varies less than that of independent times.

    Args:
        low: Start of the stratum of each row, in [0, 1]: its share of the interval, counted down from time 1.
        high: End of the stratum of each row, in [0, 1].
        t_min: Smallest time.

    Raises:
        ValueError: If `t_min` is not in [0, 1).
    """

    low: Float[Tensor, " n"]
    high: Float[Tensor, " n"]
    t_min: float = 1e-3

    def __post_init__(self) -> None:
        _expect_t_min(self.t_min)

    def __call__(self, n: int, *, generator: Generator | None = None) -> Float[Tensor, " n"]:
        """Draw the times of the n rows on the generator's device."""
        device = None if generator is None else generator.device
        u = draw_rows(lambda rows, source: torch.rand(rows, generator=source, device=device), n, generator)
        low, high = self.low.to(u), self.high.to(u)
        return 1 - (1 - self.t_min) * (low + (high - low) * u)


@dataclass(frozen=True)
class DiscreteTimes:
    """Training times drawn uniformly from {first, ..., steps} / steps, for a chain of `steps` steps.

    Args:
        steps: Number of steps.
        first: Index of the smallest time.

    Raises:
        ValueError: If `steps` < 1 or `first` is not in {1, ..., `steps`}.
    """

    steps: int
    first: int = 1

    def __post_init__(self) -> None:
        _expect_steps(self.steps)
        if not 1 <= self.first <= self.steps:
            raise ValueError(f"Expected 1 <= `first` <= `steps` = {self.steps}, got {self.first}.")

    def __call__(self, n: int, *, generator: Generator | None = None) -> Float[Tensor, " n"]:
        """Draw n times on the generator's device."""
        device = None if generator is None else generator.device
        index = draw_rows(
            lambda rows, source: torch.randint(self.first, self.steps + 1, (rows,), generator=source, device=device),
            n,
            generator,
        )
        return index / self.steps


def _expect_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"Expected `steps` >= 1, got {steps}.")


def _expect_t_min(t_min: float) -> None:
    if not 0 <= t_min < 1:
        raise ValueError(f"Expected 0 <= `t_min` < 1, got {t_min}.")
