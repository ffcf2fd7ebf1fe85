"""From a denoiser to the reverse kernel of its process."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.processes.process import Process
from discrete_diffusion.processes.protocols import Denoiser


@dataclass(frozen=True)
class Ancestral:
    """log p(x_s | x_t, y): the denoiser's p(x_0 | x_t, y) put into the process's posterior.

    A guidance method may wrap the denoiser before, this kernel after, or both.
    """

    process: Process
    denoiser: Denoiser

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        s: Float[Tensor, " b"],
        *,
        y: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b l v"]:
        """One step back in time, from t to s < t; s = 0 is the data."""
        log_x0 = self.denoiser(xt, t) if y is None else self.denoiser(xt, t, y=y)
        return self.process.log_posterior(log_x0, xt, t, s)
