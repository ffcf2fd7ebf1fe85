"""What a noise schedule is."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor


class Schedule(ABC):
    """How much of the data survives at time t, in [0, 1]: 0 is clean, 1 is noise.

        alpha(t)          survival, decreasing in t
        sigma(t)          total noise, -log alpha(t); what time-conditioned networks are fed
        alpha'(t)         its derivative, negative

    Processes compute 1 - alpha as -expm1(-sigma), which keeps its digits where alpha is close to one; `sigma` is
    therefore written so that it is accurate near t = 0. Every method is elementwise and keeps shape, dtype and device.
    """

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Survival alpha(t) = exp(-sigma(t))."""
        return (-self.sigma(t)).exp()

    @abstractmethod
    def sigma(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Total noise sigma(t) = -log alpha(t), in nats."""

    @abstractmethod
    def alpha_prime(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Derivative d alpha / dt."""

    @abstractmethod
    def inverse(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The time t at which `alpha(t)` has the given value."""
