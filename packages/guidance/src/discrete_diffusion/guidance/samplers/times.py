"""Times of the steps of a sampler."""

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from discrete_diffusion.guidance.protocols import Survival


@runtime_checkable
class TimeGrid(Protocol):
    """Function from a number of steps to their times, strictly descending from 1 to 0."""

    def __call__(self, steps: int, schedule: Survival, /) -> Float[Tensor, " n"]:
        """Return `steps` + 1 times."""
        ...


def equal_times(steps: int, schedule: Survival) -> Float[Tensor, " n"]:
    """Return times in equal steps: t_i = 1 - i / n."""
    return torch.linspace(1, 0, steps + 1, dtype=torch.float64).float()


def cosine_times(steps: int, schedule: Survival) -> Float[Tensor, " n"]:
    """Return times t_i = cos(pi i / (2 n)): small steps near noise, large ones near the data (arXiv 2202.04200)."""
    times = torch.cos(torch.linspace(0, math.pi / 2, steps + 1, dtype=torch.float64))
    times[-1] = 0
    return times.float()


def equal_survival_times(steps: int, schedule: Survival) -> Float[Tensor, " n"]:
    """Return times at which the survival alpha grows in equal steps, from alpha(1) to 1.

    For a log-linear schedule they are those of `equal_times`.

    Raises:
        ValueError: If two times are equal in float32: there are too many steps.
    """
    first = schedule.alpha(torch.ones((), dtype=torch.float64))
    return _at_survival(torch.linspace(0, 1, steps + 1, dtype=torch.float64) * (1 - first) + first, schedule)


def log_snr_times(steps: int, schedule: Survival, *, largest: float | int = 6) -> Float[Tensor, " n"]:
    """Return times in equal steps of the log signal-to-noise ratio, log(alpha / (1 - alpha)).

    The first step leads from t = 1 to -`largest`, the last from `largest` to t = 0, the others lie between.

    Args:
        steps: Number of steps.
        schedule: Noise schedule.
        largest: Largest absolute ratio at an inner time, > 0.

    Raises:
        ValueError: If `largest` is not positive, or the schedule does not reach it at t = 1.
    """
    if not largest > 0:
        raise ValueError(f"Expected `largest` > 0, got {largest}.")
    # One inner time alone is in the middle.
    ratios = torch.linspace(-1, 1, steps + 1, dtype=torch.float64) if steps < 3 else torch.zeros(steps + 1).double()
    if steps >= 3:
        ratios[1:-1] = torch.linspace(-1, 1, steps - 1, dtype=torch.float64)
    return _at_survival((largest * ratios).sigmoid(), schedule)


def _at_survival(alpha: Float[Tensor, " n"], schedule: Survival) -> Float[Tensor, " n"]:
    inner = schedule.inverse(alpha[1:-1])
    times = torch.cat([inner.new_ones(1), inner, inner.new_zeros(1)]).float()
    if not bool((times.diff() < 0).all()):
        raise ValueError(f"Expected times that descend from 1 to 0, got {times.tolist()}: take fewer steps.")
    return times
