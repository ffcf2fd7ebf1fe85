"""The polynomial schedule."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from discrete_diffusion.schedules.schedule import Schedule
from discrete_diffusion.schedules.validation import expect_eps


@dataclass(frozen=True)
class Polynomial(Schedule):
    """Polynomial schedule alpha(t) = 1 - (1 - eps) t^power, from 1 to eps (MD4, arXiv 2406.04329).

    Powers above one spend more time near the data; `power` = 1 is `LogLinear`.

    Args:
        power: Exponent of t.
        eps: Survival at t = 1.

    Raises:
        ValueError: If `power` < 1 or `eps` is not in (0, 1).
    """

    power: float = 2.0
    eps: float = 1e-3

    def __post_init__(self) -> None:
        expect_eps(self.eps)
        if not self.power >= 1:
            raise ValueError(f"Expected `power` >= 1 (below it the derivative at t = 0 is infinite), got {self.power}.")

    def sigma(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return -log alpha(t)."""
        return -(-(1 - self.eps) * t**self.power).log1p()

    def alpha_prime(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return -(1 - eps) power t^(power - 1)."""
        return -(1 - self.eps) * self.power * t ** (self.power - 1)

    def inverse(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return ((1 - alpha) / (1 - eps))^(1 / power)."""
        return ((1 - alpha) / (1 - self.eps)) ** (1 / self.power)
