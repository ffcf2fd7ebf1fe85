"""The log-linear schedule."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from discrete_diffusion.schedules.schedule import Schedule
from discrete_diffusion.schedules.validation import expect_eps


@dataclass(frozen=True)
class LogLinear(Schedule):
    """Log-linear schedule alpha(t) = 1 - (1 - eps) t, from 1 to eps (SEDD, arXiv 2310.16834; MDLM, arXiv 2406.07524).

    It is named after its total noise, sigma(t) = -log(1 - (1 - eps) t). Tokens are corrupted at a constant rate.

    Args:
        eps: Survival at t = 1.

    Raises:
        ValueError: If `eps` is not in (0, 1).
    """

    eps: float = 1e-3

    def __post_init__(self) -> None:
        expect_eps(self.eps)

    def sigma(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return -log alpha(t)."""
        return -(-(1 - self.eps) * t).log1p()

    def alpha_prime(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return -(1 - eps)."""
        return -(1 - self.eps) * t.new_ones(t.shape)

    def inverse(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return (1 - alpha) / (1 - eps)."""
        return (1 - alpha) / (1 - self.eps)
