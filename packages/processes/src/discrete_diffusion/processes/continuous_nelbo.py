"""The continuous-time likelihood bound."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from discrete_diffusion.processes.objective import Terms
from discrete_diffusion.processes.process import Process
from discrete_diffusion.processes.types import LogDenoiser, given
from discrete_diffusion.schedules import IndependentTimes, LowDiscrepancyTimes


@dataclass(frozen=True)
class ContinuousNELBO:
    """-log p(x_0) <= prior + integral over [t_min, 1] of the diffusion loss + reconstruction at t_min.

    (MDLM, arXiv 2406.07524; UDLM, arXiv 2412.10193.) Training descends the integral, estimated at one time per row.
    """

    process: Process
    times: IndependentTimes | LowDiscrepancyTimes = LowDiscrepancyTimes()

    def loss(
        self,
        denoiser: LogDenoiser,
        x0: Int[Tensor, "b l"],
        y: Int[Tensor, " b"] | None = None,
        *,
        generator: Generator | None = None,
    ) -> Float[Tensor, "b l"]:
        """The integral, in nats per token."""
        t = self.times(len(x0), generator=generator).to(x0.device)
        xt = self.process.corrupt(x0, t, generator=generator)
        log_x0 = denoiser(xt, t, **given(y=y))
        return (1 - self.times.t_min) * self.process.diffusion_loss(log_x0, x0, xt, t)

    def terms(
        self,
        denoiser: LogDenoiser,
        x0: Int[Tensor, "b l"],
        y: Int[Tensor, " b"] | None = None,
        *,
        generator: Generator | None = None,
    ) -> Terms:
        """The three terms; the reconstruction has a pass of its own at t_min."""
        return Terms(
            prior=self.process.prior_loss(denoiser, x0, y),
            diffusion=self.loss(denoiser, x0, y, generator=generator),
            reconstruction=reconstruction_loss(self.process, denoiser, x0, y, t=self.times.t_min, generator=generator),
        )


def reconstruction_loss(
    process: Process,
    denoiser: LogDenoiser,
    x0: Int[Tensor, "b l"],
    y: Int[Tensor, " b"] | None,
    *,
    t: float,
    generator: Generator | None,
) -> Float[Tensor, "b l"]:
    """-log p(x_0 | x_t) at the earliest latent, whose time is t; zero, and no pass, where that latent is the data."""
    times = torch.full((len(x0),), t, device=x0.device)
    if process.schedule.sigma(times[:1]).item() == 0:
        return torch.zeros(x0.shape, device=x0.device)
    xt = process.corrupt(x0, times, generator=generator)
    log_x0 = denoiser(xt, times, **given(y=y))
    return process.step_loss(log_x0, x0, xt, times, torch.zeros_like(times))
