"""The cosine schedule."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from discrete_diffusion.schedules.schedule import Schedule
from discrete_diffusion.schedules.validation import expect_eps


@dataclass(frozen=True)
class Cosine(Schedule):
    """Cosine schedule alpha(t) = eps + (1 - eps) cos(pi t / 2) (MDLM, arXiv 2406.07524, appendix).

    Args:
        eps: Survival at t = 1.

    Raises:
        ValueError: If `eps` is not in (0, 1).
    """

    eps: float = 1e-3

    def __post_init__(self) -> None:
        expect_eps(self.eps)

    def sigma(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return -log alpha(t), computed with 1 - cos(u) = 2 sin^2(u / 2)."""
        return -(-(1 - self.eps) * 2 * (math.pi / 4 * t).sin().square()).log1p()

    def alpha_prime(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return -(1 - eps) (pi / 2) sin(pi t / 2)."""
        return -(1 - self.eps) * math.pi / 2 * (math.pi / 2 * t).sin()

    def inverse(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return (4 / pi) arcsin sqrt((1 - alpha) / (2 (1 - eps)))."""
        return 4 / math.pi * ((1 - alpha) / (2 * (1 - self.eps))).sqrt().asin()
