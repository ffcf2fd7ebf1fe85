"""Ancestral sampling of masked diffusion at the cost of what changes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.guidance.drawing import invert_cdf
from discrete_diffusion.guidance.protocols import Denoiser, ScheduledNoise, evaluate
from discrete_diffusion.guidance.samplers.ancestral import check_times
from discrete_diffusion.guidance.samplers.clamping import check_clamp, hold
from discrete_diffusion.guidance.samplers.diffusion import (
    DiffusionSampler,
    GuidedModel,
    Run,
    check_steps,
    masking,
)
from discrete_diffusion.guidance.samplers.times import TimeGrid, equal_times
from discrete_diffusion.guidance.state import State
from discrete_diffusion.guidance.streams import RandomSource, draw_uniform


def masked_ancestral(
    denoiser: Denoiser,
    xt: Int[Tensor, "b l"],
    times: Float[Tensor, " n"],
    *,
    mask_id: int,
    survival: Callable[[Tensor], Tensor],
    y: Int[Tensor, " b"] | None = None,
    clamp: Int[Tensor, "b l"] | None = None,
    generator: RandomSource = None,
) -> Iterator[State]:
    """Yield every state of ancestral sampling of masked diffusion, choosing first and computing after.

    A step from t to s reveals each masked position with probability

        (alpha_s - alpha_t) / (1 - alpha_t),

    whatever the network predicts. The positions are therefore drawn first, and the denoiser is evaluated at them alone,
    in the rows that have any: the distribution is that of `trajectory` with the ancestral kernel, and the output layer
    runs at the positions that change. Of L masks in n equal steps of survival a row is evaluated in

        n (1 - (1 - 1 / n)^L)

    steps on average. Guidance of the denoiser applies; guidance of the kernel has a say in what is revealed, and needs
    `trajectory`.

    Args:
        denoiser: Log-probabilities of the clean tokens.
        xt: Tokens at times[0], masks where they are to be generated.
        times: Strictly descending in [0, 1]; the step to 0 reveals every mask.
        mask_id: Token that stands for a mask.
        survival: alpha(t) of the noise schedule.
        y: Labels, passed to the denoiser.
        clamp: Token that each position must hold, -1 where it is free.
        generator: Source of randomness, torch's default generator if None.

    Raises:
        ValueError: If `times` or `clamp` is malformed (at once), or the denoiser returns the wrong shape (while
            iterating).
    """
    check_times(times)
    check_clamp(clamp, xt)
    return _steps(denoiser, hold(xt, clamp), times, mask_id, survival, y, generator)


def _steps(
    denoiser: Denoiser,
    x: Int[Tensor, "b l"],
    times: Float[Tensor, " n"],
    mask_id: int,
    survival: Callable[[Tensor], Tensor],
    y: Int[Tensor, " b"] | None,
    generator: RandomSource,
) -> Iterator[State]:
    alpha = torch.where(times > 0, survival(times.double()), 1.0)
    shares = ((alpha[1:] - alpha[:-1]) / (1 - alpha[:-1])).tolist()
    grid = times.to(x.device)
    yield State(float(times[0]), x)
    for i, share in enumerate(shares):
        with torch.no_grad():
            # Both draws come first, whether a token is needed or not: each step takes the same count of numbers.
            reveal, u = draw_uniform((len(x), 2, x.shape[1]), generator, x.device).unbind(1)
            chosen = (x == mask_id) & (reveal < share)
            rows = chosen.any(1)
            if bool(rows.any()):
                t = grid[i].expand(int(rows.sum()))
                log_probs = evaluate(denoiser, x[rows], t, y=None if y is None else y[rows], at=chosen[rows])
                if log_probs.ndim != 2 or len(log_probs) != int(chosen.sum()):
                    raise ValueError(
                        f"Expected the denoiser to return ({int(chosen.sum())}, vocabulary) for the positions of `at`, "
                        f"got {tuple(log_probs.shape)}."
                    )
                x = x.masked_scatter(chosen, invert_cdf(log_probs, u[chosen]))
        yield State(float(times[i + 1]), x)


@dataclass(frozen=True)
class MaskedAncestralSampler(DiffusionSampler):
    """Ancestral sampler of masked diffusion that evaluates only what changes; see `masked_ancestral` and `Sampler`.

    Args:
        process: Masked diffusion.
        steps: Number of steps, >= 1.
        grid: Times of the steps.

    Raises:
        ValueError: If `process` has no masks, or `steps` < 1.
    """

    process: ScheduledNoise
    steps: int = 32
    grid: TimeGrid = equal_times

    def __post_init__(self) -> None:
        masking(self.process, "MaskedAncestralSampler")
        check_steps(self.steps)

    def run(self, model: GuidedModel) -> Run:
        """Return the run of the guided denoiser.

        Raises:
            ValueError: If there is guidance around the kernel.
        """
        model.check_kernel_is_unguided("MaskedAncestralSampler")
        process = masking(self.process, "MaskedAncestralSampler")
        schedule = process.schedule
        return Run(
            partial(
                masked_ancestral,
                model.denoiser,
                times=self.grid(self.steps, schedule),
                mask_id=process.mask_id,
                survival=schedule.alpha,
            )
        )
