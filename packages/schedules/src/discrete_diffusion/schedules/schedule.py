"""Base class of the noise schedules."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor


class Schedule(ABC):
    """Probability alpha(t) that a token is still uncorrupted at time t, from 0 (clean) to 1 (noise).

        alpha(t)          survival, decreasing in t
        sigma(t)          total noise -log alpha(t), the input of time-conditioned networks
        alpha'(t)         derivative of alpha, negative

    Processes compute 1 - alpha as -expm1(-sigma), which is accurate where alpha is close to one. Implementations of
    `sigma` must therefore be accurate near t = 0. Every method is elementwise and keeps shape, dtype and device.
    """

    def alpha(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the survival, exp(-sigma(t))."""
        return (-self.sigma(t)).exp()

    @abstractmethod
    def sigma(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the total noise, -log alpha(t), in nats."""

    @abstractmethod
    def alpha_prime(self, t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the derivative d alpha / dt."""

    @abstractmethod
    def inverse(self, alpha: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the time at which the survival equals `alpha`."""
