"""Conditional distributions of one noisy token given the others."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.processes.leave_one_out import LeaveOneOutDenoiser
from discrete_diffusion.processes.process import Process
from discrete_diffusion.processes.protocols import Condition, Denoiser


@dataclass(frozen=True)
class NoisyConditional:
    """Distribution of the noisy token at a position given the rest of the sequence (arXiv 2605.22765).

        p(x_t^l | x_t without l) = alpha_t p(x_0^l | x_t without l) + (1 - alpha_t) pi

    Resampling one position from it is a Gibbs step and leaves the distribution of x_t exactly invariant. Resampling
    several positions at once does not. It has the signature of a denoiser, so guidance can wrap it.

    Args:
        process: Uniform or marginal noise.
        denoiser: Log-probabilities of the clean tokens, in the process's parameterization.
        temperature: Temperature of the leave-one-out prediction, > 0. Below 1 the correction is sharper, but the
            distribution is no longer invariant.

    Raises:
        ValueError: If `process` is masked diffusion, because the conditional at a revealed position would need another
            network evaluation, or if `temperature` is not positive.
    """

    process: Process
    denoiser: Denoiser
    temperature: float | int = 1

    def __post_init__(self) -> None:
        self._rest()

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        *,
        y: Condition | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*p v"]:
        """Return log p(x_t^l | rest), (b, l, v), or (n, v) at the positions where `at` is true."""
        log_x0 = self._rest()(xt, t, y=y, at=at)
        rows = log_x0 if at is None else log_x0[:, None]
        times = t if at is None else t.repeat_interleave(at.sum(1))
        return self.process.log_noised(rows, times).view_as(log_x0)

    def _rest(self) -> LeaveOneOutDenoiser:
        return LeaveOneOutDenoiser(self.process, self.denoiser, self.temperature)
