"""Distribution of a clean token given the rest of a noisy sequence."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.processes.absorbing import Absorbing
from discrete_diffusion.processes.process import Process
from discrete_diffusion.processes.protocols import Condition, Denoiser, given


@dataclass(frozen=True)
class LeaveOneOutDenoiser:
    """Denoiser that predicts each clean token without the evidence of its own noisy token (arXiv 2605.22765).

        log p(x_0^l | x_t without l)

    It has the signature of a denoiser, so guidance can wrap it.

    Args:
        process: Uniform or marginal noise.
        denoiser: Log-probabilities of the clean tokens, in the process's parameterization.
        temperature: Temperature of the prediction, > 0.

    Raises:
        ValueError: If `process` is masked diffusion, because the prediction at a revealed position would need another
            network evaluation, or if `temperature` is not positive.
    """

    process: Process
    denoiser: Denoiser
    temperature: float | int = 1

    def __post_init__(self) -> None:
        if isinstance(self.process, Absorbing):
            raise ValueError("Expected uniform or marginal noise, got masks: correct masked diffusion by `Remasking`.")
        if not self.temperature > 0:
            raise ValueError(f"Expected `temperature` > 0, got {self.temperature}.")

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        *,
        y: Condition | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*p v"]:
        """Return log p(x_0^l | rest), (b, l, v), or (n, v) at the positions where `at` is true."""
        log_x0 = self.denoiser(xt, t, **given(y=y, at=at))
        where = torch.ones_like(xt, dtype=torch.bool) if at is None else at
        # One row per position, with the time of its sequence.
        rows, times = log_x0.flatten(0, -2)[:, None], t.repeat_interleave(where.sum(1))
        rest = self.process.leave_one_out(rows, xt[where][:, None], times)
        if self.temperature != 1:
            rest = (rest / self.temperature).log_softmax(-1)
        return rest.view_as(log_x0)
