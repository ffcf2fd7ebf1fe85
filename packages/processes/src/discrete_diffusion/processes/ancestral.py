"""Ancestral reverse kernel of a denoiser."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.processes.process import Process
from discrete_diffusion.processes.protocols import Condition, Denoiser


@dataclass(frozen=True)
class Ancestral:
    """Reverse kernel log p(x_s | x_t, y): the posterior of the process, given the denoiser's p(x_0 | x_t, y).

    Guidance may wrap the denoiser, this kernel, or both.

    Args:
        process: Forward process.
        denoiser: Log-probabilities of the clean tokens, in the process's parameterization.
    """

    process: Process
    denoiser: Denoiser

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        s: Float[Tensor, " b"],
        *,
        y: Condition | None = None,
    ) -> Float[Tensor, "b l v"]:
        """Return log p(x_s | x_t, y) for s < t; s = 0 is the data."""
        log_x0 = self.denoiser(xt, t) if y is None else self.denoiser(xt, t, y=y)
        return self.process.log_posterior(log_x0, xt, t, s)
