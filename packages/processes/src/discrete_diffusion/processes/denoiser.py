"""From a network's logits to log-probabilities of the clean token."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.processes.opened import opened
from discrete_diffusion.processes.process import Process
from discrete_diffusion.processes.types import Network, given


@dataclass(frozen=True)
class NetworkDenoiser:
    """log p(x_0 | x_t, y) of a diffusion process: the network is fed sigma(t), and read as the process reads logits.

    A network with `encode` and `decode` can be opened: `decode(encode(xt, t, y=y), xt, t, y=y, at=at)` is the call
    itself. The denoiser of any other network has neither attribute.
    """

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

    @property
    def encode(self) -> Callable[..., Tensor]:
        """`(xt, t, *, y=None)` -> the network's hidden state, (b, l, d)."""
        opened(self.network, "encode", "decode")
        return self._encode

    @property
    def decode(self) -> Callable[..., Tensor]:
        """`(hidden, xt, t, *, y=None, at=None)` -> log p(x_0 | x_t, y) as the call returns it."""
        opened(self.network, "encode", "decode")
        return self._decode

    def _encode(
        self, xt: Int[Tensor, "b l"], t: Float[Tensor, " b"], *, y: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b l d"]:
        return opened(self.network).encode(xt, self.process.schedule.sigma(t), **given(y=y))

    def _decode(
        self,
        hidden: Float[Tensor, "b l d"],
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        *,
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*p v"]:
        logits = opened(self.network).decode(hidden, self.process.schedule.sigma(t), **given(y=y, at=at))
        return self.process.log_x0(logits, xt if at is None else xt[at])
