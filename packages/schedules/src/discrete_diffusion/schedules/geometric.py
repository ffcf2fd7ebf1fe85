"""The geometric schedule of the total noise."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from discrete_diffusion.schedules.schedule import Schedule
from discrete_diffusion.schedules.validation import expect_sigmas


@dataclass(frozen=True)
class Geometric(Schedule):
    """Geometric schedule sigma(t) = sigma_min^(1 - t) sigma_max^t, alpha = exp(-sigma) (SEDD, arXiv 2310.16834).

    alpha(0) = exp(-sigma_min) is below one; the README of this package explains the consequences.

    Args:
        sigma_min: Total noise at t = 0.
        sigma_max: Total noise at t = 1.

    Raises:
        ValueError: If not 0 < `sigma_min` < `sigma_max` < inf.
    """

    sigma_min: float = 1e-4
    sigma_max: float = 20.0

    def __post_init__(self) -> None:
        expect_sigmas(self.sigma_min, self.sigma_max)

    def sigma(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return sigma_min^(1 - t) sigma_max^t."""
        return self.sigma_min * (math.log(self.sigma_max / self.sigma_min) * t).exp()

    def alpha_prime(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return -sigma'(t) alpha(t)."""
        return -math.log(self.sigma_max / self.sigma_min) * self.sigma(t) * self.alpha(t)

    def inverse(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return log(-log alpha / sigma_min) / log(sigma_max / sigma_min)."""
        return (-alpha.log() / self.sigma_min).log() / math.log(self.sigma_max / self.sigma_min)
