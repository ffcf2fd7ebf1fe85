"""From a network's logits to log-probabilities of the clean token."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.processes.process import Process
from discrete_diffusion.processes.types import Network, given


@dataclass(frozen=True)
class Denoiser:
    """log p(x_0 | x_t, y) of a diffusion process: the network is fed sigma(t), and read as the process reads logits."""

    process: Process
    network: Network

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        *,
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*p v"]:
        """(b, l, v), or (n, v) for the n positions where `at` is true, in row-major order."""
        logits = self.network(xt, self.process.schedule.sigma(t), **given(y=y, at=at))
        return self.process.log_x0(logits, xt if at is None else xt[at])
