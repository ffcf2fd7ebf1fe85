"""What a training objective is."""

from typing import NamedTuple, Protocol

from jaxtyping import Float, Int
from torch import Generator, Tensor

from discrete_diffusion.processes.types import LogDenoiser


class Terms(NamedTuple):
    """The parts of a bound on -log p(x_0), in nats per token; each an unbiased estimate."""

    prior: Float[Tensor, "b l"]
    diffusion: Float[Tensor, "b l"]
    reconstruction: Float[Tensor, "b l"]

    @property
    def total(self) -> Float[Tensor, "b l"]:
        """The bound itself."""
        return self.prior + self.diffusion + self.reconstruction


class Objective(Protocol):
    """What a model is trained on and measured by. Random numbers are drawn on the generator's device."""

    def loss(
        self,
        denoiser: LogDenoiser,
        x0: Int[Tensor, "b l"],
        y: Int[Tensor, " b"] | None = None,
        *,
        generator: Generator | None = None,
    ) -> Float[Tensor, "b l"]:
        """What training descends, in nats per token, unreduced: one pass through the denoiser."""
        ...

    def terms(
        self,
        denoiser: LogDenoiser,
        x0: Int[Tensor, "b l"],
        y: Int[Tensor, " b"] | None = None,
        *,
        generator: Generator | None = None,
    ) -> Terms:
        """The bound on -log p(x_0) that the model is measured by."""
        ...
