"""The likelihood bound of a chain of T steps."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from discrete_diffusion.processes.continuous_nelbo import reconstruction_loss
from discrete_diffusion.processes.objective import Terms
from discrete_diffusion.processes.process import Process
from discrete_diffusion.processes.types import LogDenoiser, given
from discrete_diffusion.schedules import DiscreteTimes


@dataclass(frozen=True)
class DiscreteNELBO:
    """-log p(x_0) <= prior + sum over i = 2 ... T of KL(q(x_s | x_t, x_0) || p(x_s | x_t)) + reconstruction.

    Here t = i / T and s = (i - 1) / T, and the reconstruction is taken at t = 1 / T (D3PM, arXiv 2107.03006, eq. 1).
    Training descends the sum over i = 1 ... T, whose first term is the reconstruction, estimated at one i per row.
    """

    process: Process
    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"Expected `steps` >= 1, got {self.steps}.")

    def loss(
        self,
        denoiser: LogDenoiser,
        x0: Int[Tensor, "b l"],
        y: Int[Tensor, " b"] | None = None,
        *,
        generator: Generator | None = None,
    ) -> Float[Tensor, "b l"]:
        """Diffusion and reconstruction terms together, in nats per token."""
        return self._sum_from(1, denoiser, x0, y, generator)

    def terms(
        self,
        denoiser: LogDenoiser,
        x0: Int[Tensor, "b l"],
        y: Int[Tensor, " b"] | None = None,
        *,
        generator: Generator | None = None,
    ) -> Terms:
        """The three terms, each with passes of its own."""
        prior = self.process.prior_loss(denoiser, x0, y)
        return Terms(
            prior=prior,
            diffusion=self._sum_from(2, denoiser, x0, y, generator) if self.steps > 1 else torch.zeros_like(prior),
            reconstruction=reconstruction_loss(self.process, denoiser, x0, y, t=1 / self.steps, generator=generator),
        )

    def _sum_from(
        self,
        first: int,
        denoiser: LogDenoiser,
        x0: Int[Tensor, "b l"],
        y: Int[Tensor, " b"] | None,
        generator: Generator | None,
    ) -> Float[Tensor, "b l"]:
        t = DiscreteTimes(self.steps, first=first)(len(x0), generator=generator).to(x0.device)
        s = ((t * self.steps).round() - 1) / self.steps
        xt = self.process.corrupt(x0, t, generator=generator)
        log_x0 = denoiser(xt, t, **given(y=y))
        return (self.steps - first + 1) * self.process.step_loss(log_x0, x0, xt, t, s)
