"""Denoisers built from networks."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.processes.process import Process
from discrete_diffusion.processes.protocols import Condition, LatentNetwork, Network, at_least_float32, given


@dataclass(frozen=True)
class NetworkDenoiser:
    """Denoiser log p(x_0 | x_t, y): a network that reads sigma(t), with logits interpreted by the process.

    The constructor returns a `LatentDenoiser` for a `LatentNetwork`.

    Args:
        process: Forward process that the network was trained on.
        network: Denoising network.
    """

    process: Process
    network: Network

    def __new__(cls, process: Process | None = None, network: Network | None = None) -> "NetworkDenoiser":
        """Choose the class by the capabilities of the network; copies pass no arguments and keep their class."""
        if network is None:
            return super().__new__(cls)
        return super().__new__(LatentDenoiser if isinstance(network, LatentNetwork) else NetworkDenoiser)

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        *,
        y: Condition | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*p v"]:
        """Return log p(x_0 | x_t, y), (b, l, v), or (n, v) at the positions where `at` is true, in row-major order."""
        return self.process.log_x0(self.logits(xt, t, y=y, at=at), xt if at is None else xt[at])

    def logits(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        *,
        y: Condition | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*p v"]:
        """Return the logits of the network, at least in float32, which the losses read without a normalized copy."""
        return at_least_float32(self.network(xt, self.process.schedule.sigma(t), **given(y=y, at=at)))


@dataclass(frozen=True)
class LatentDenoiser(NetworkDenoiser):
    """Denoiser with access to its hidden states.

    A call equals `decode(encode(xt, t, y=y), xt, t, y=y, at=at)`. `NetworkDenoiser(process, network)` creates an
    instance if the network has `encode` and `decode`.

    Args:
        process: Forward process that the network was trained on.
        network: Denoising network with `encode` and `decode`.
    """

    network: LatentNetwork

    def encode(
        self, xt: Int[Tensor, "b l"], t: Float[Tensor, " b"], *, y: Condition | None = None
    ) -> Float[Tensor, "b l d"]:
        """Return the hidden states of the network."""
        return self.network.encode(xt, self.process.schedule.sigma(t), **given(y=y))

    def decode(
        self,
        hidden: Float[Tensor, "b l d"],
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        *,
        y: Condition | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*p v"]:
        """Return log p(x_0 | hidden), in the shape that a call returns."""
        logits = self.network.decode(hidden, self.process.schedule.sigma(t), **given(y=y, at=at))
        return self.process.log_x0(at_least_float32(logits), xt if at is None else xt[at])
