"""The squared cosine schedule."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from discrete_diffusion.schedules.schedule import Schedule
from discrete_diffusion.schedules.validation import expect_eps


@dataclass(frozen=True)
class CosineSquared(Schedule):
    """Squared cosine schedule alpha(t) = eps + (1 - eps) cos^2(pi t / 2) (MDLM, arXiv 2406.07524, appendix).

    Args:
        eps: Survival at t = 1.

    Raises:
        ValueError: If `eps` is not in (0, 1).
    """

    eps: float = 1e-3

    def __post_init__(self) -> None:
        expect_eps(self.eps)

    def sigma(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return -log alpha(t), computed with 1 - cos^2 = sin^2."""
        return -(-(1 - self.eps) * (math.pi / 2 * t).sin().square()).log1p()

    def alpha_prime(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return -(1 - eps) (pi / 2) sin(pi t)."""
        return -(1 - self.eps) * math.pi / 2 * (math.pi * t).sin()

    def inverse(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return (2 / pi) arcsin sqrt((1 - alpha) / (1 - eps))."""
        return 2 / math.pi * ((1 - alpha) / (1 - self.eps)).clamp(0, 1).sqrt().asin()
