"""The linear schedule of the total noise."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from discrete_diffusion.schedules.schedule import Schedule
from discrete_diffusion.schedules.validation import expect_sigmas


@dataclass(frozen=True)
class Linear(Schedule):
    """sigma(t) = sigma_min + (sigma_max - sigma_min) t, alpha = exp(-sigma) (MDLM, arXiv 2406.07524, appendix).

    alpha(0) = exp(-sigma_min) is below one: see this package's README for what follows from that.
    """

    sigma_min: float = 1e-3
    sigma_max: float = 7.0

    def __post_init__(self) -> None:
        expect_sigmas(self.sigma_min, self.sigma_max)

    def sigma(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """sigma_min + (sigma_max - sigma_min) t."""
        return self.sigma_min + (self.sigma_max - self.sigma_min) * t

    def alpha_prime(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """-sigma'(t) alpha(t)."""
        return -(self.sigma_max - self.sigma_min) * self.alpha(t)

    def inverse(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """(-log alpha - sigma_min) / (sigma_max - sigma_min)."""
        return (-alpha.log() - self.sigma_min) / (self.sigma_max - self.sigma_min)
