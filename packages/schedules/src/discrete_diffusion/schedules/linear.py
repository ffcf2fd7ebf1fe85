"""The linear schedule of the total noise."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from discrete_diffusion.schedules.schedule import Schedule
from discrete_diffusion.schedules.validation import expect_sigmas


@dataclass(frozen=True)
class Linear(Schedule):
    """Linear schedule sigma(t) = sigma_min + (sigma_max - sigma_min) t (MDLM, arXiv 2406.07524, appendix).

    alpha(0) = exp(-sigma_min) is below one; the README of this package explains the consequences.

    Args:
        sigma_min: Total noise at t = 0.
        sigma_max: Total noise at t = 1.

    Raises:
        ValueError: If not 0 < `sigma_min` < `sigma_max` < inf.
    """

    sigma_min: float = 1e-3
    sigma_max: float = 7.0

    def __post_init__(self) -> None:
        expect_sigmas(self.sigma_min, self.sigma_max)

    def sigma(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return sigma_min + (sigma_max - sigma_min) t."""
        return self.sigma_min + (self.sigma_max - self.sigma_min) * t

    def alpha_prime(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return -sigma'(t) alpha(t)."""
        return -(self.sigma_max - self.sigma_min) * self.alpha(t)

    def inverse(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return (-log alpha - sigma_min) / (sigma_max - sigma_min)."""
        return (-alpha.log() - self.sigma_min) / (self.sigma_max - self.sigma_min)
