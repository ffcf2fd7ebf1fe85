"""The geometric schedule of the total noise."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from discrete_diffusion.schedules.schedule import Schedule
from discrete_diffusion.schedules.validation import expect_sigmas


@dataclass(frozen=True)
class Geometric(Schedule):
    """sigma(t) = sigma_min^(1 - t) sigma_max^t, alpha = exp(-sigma) (SEDD, arXiv 2310.16834).

    alpha(0) = exp(-sigma_min) is below one: see this package's README for what follows from that.
    """

    sigma_min: float = 1e-4
    sigma_max: float = 20.0

    def __post_init__(self) -> None:
        expect_sigmas(self.sigma_min, self.sigma_max)

    def sigma(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """sigma_min^(1 - t) sigma_max^t."""
        return self.sigma_min * (math.log(self.sigma_max / self.sigma_min) * t).exp()

    def alpha_prime(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """-sigma'(t) alpha(t)."""
        return -math.log(self.sigma_max / self.sigma_min) * self.sigma(t) * self.alpha(t)

    def inverse(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """log(-log alpha / sigma_min) / log(sigma_max / sigma_min)."""
        return (-alpha.log() / self.sigma_min).log() / math.log(self.sigma_max / self.sigma_min)
