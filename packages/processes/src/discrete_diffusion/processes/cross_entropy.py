"""Plain denoising cross-entropy."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Generator, Tensor

from discrete_diffusion.processes.continuous_nelbo import ContinuousNELBO
from discrete_diffusion.processes.objective import Terms
from discrete_diffusion.processes.process import Process, pick
from discrete_diffusion.processes.types import LogDenoiser, given
from discrete_diffusion.schedules import IndependentTimes, LowDiscrepancyTimes


@dataclass(frozen=True)
class CrossEntropy:
    """-log p(x_0 | x_t) of every token at uniform times, without the weight of the bound.

    Its minimum is the mean E[x_0 | x_t]: with uniform or marginal noise, give the process the `Mean` parameterization.
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
        """The cross-entropy, in nats per token; not a likelihood."""
        t = self.times(len(x0), generator=generator).to(x0.device)
        xt = self.process.corrupt(x0, t, generator=generator)
        return -pick(denoiser(xt, t, **given(y=y)), x0)

    def terms(
        self,
        denoiser: LogDenoiser,
        x0: Int[Tensor, "b l"],
        y: Int[Tensor, " b"] | None = None,
        *,
        generator: Generator | None = None,
    ) -> Terms:
        """The continuous-time bound."""
        return ContinuousNELBO(self.process, self.times).terms(denoiser, x0, y, generator=generator)
