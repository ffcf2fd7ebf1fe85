"""Ancestral sampling with Gibbs corrections."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.guidance.drawing import sample_categorical
from discrete_diffusion.guidance.protocols import ConditionalLift, Denoiser, Kernel, Lift, ScheduledNoise, evaluate
from discrete_diffusion.guidance.samplers.ancestral import trajectory
from discrete_diffusion.guidance.samplers.clamping import check_clamp
from discrete_diffusion.guidance.samplers.diffusion import DiffusionSampler, GuidedModel, Run, check_steps
from discrete_diffusion.guidance.samplers.times import TimeGrid, equal_times
from discrete_diffusion.guidance.state import State
from discrete_diffusion.guidance.streams import RandomSource, draw_uniform


def corrected(
    kernel: Kernel,
    conditional: Denoiser,
    xt: Int[Tensor, "b l"],
    times: Float[Tensor, " n"],
    *,
    corrections: int,
    at_once: int = 1,
    y: Int[Tensor, " b"] | None = None,
    clamp: Int[Tensor, "b l"] | None = None,
    generator: RandomSource = None,
) -> Iterator[State]:
    """Yield every state of ancestral sampling in which each step is followed by Gibbs corrections (arXiv 2605.22765).

    After the step to s > 0, `corrections` times, `gibbs_step` resamples `at_once` positions of x_s given the rest. A
    step costs 1 + `corrections` evaluations.

    Args:
        kernel: log p(x_s | x_t, y), (b, l, v).
        conditional: log p(x_t^l | x_t without l, y), with the signature of a denoiser.
        xt: Tokens at times[0].
        times: Strictly descending in [0, 1].
        corrections: Gibbs steps after each reverse step, >= 0.
        at_once: Positions resampled by each of them.
        y: Labels, passed to both models.
        clamp: Token that each position must hold, -1 where it is free.
        generator: Source of randomness, torch's default generator if None.

    Raises:
        ValueError: If a number is out of range or `times` or `clamp` is malformed (at once).
    """
    check_corrections(corrections, at_once)
    check_clamp(clamp, xt)
    start = trajectory(kernel, xt, times, y=y, clamp=clamp, generator=generator)
    return _steps(kernel, conditional, start, times, corrections, at_once, y, clamp, generator)


def gibbs_step(
    conditional: Denoiser,
    x: Int[Tensor, "b l"],
    t: Float[Tensor, " b"],
    *,
    at_once: int = 1,
    y: Int[Tensor, " b"] | None = None,
    clamp: Int[Tensor, "b l"] | None = None,
    generator: RandomSource = None,
) -> Int[Tensor, "b l"]:
    """Return `x` with `at_once` positions of each row, chosen uniformly at random, resampled given the rest.

    With `at_once` = 1 the distribution of x_t is invariant, exactly; with more it is not, since the new tokens are
    drawn independently of one another. Clamped positions are never chosen.
    """
    free = torch.ones_like(x, dtype=torch.bool) if clamp is None else clamp < 0
    scores = draw_uniform(x.shape, generator, x.device)
    picked = scores.masked_fill(~free, -1).topk(min(at_once, x.shape[1]), -1).indices
    at = torch.zeros_like(free).scatter(-1, picked, True) & free
    with torch.no_grad():
        return x.masked_scatter(at, sample_categorical(evaluate(conditional, x, t, y=y, at=at), generator, at=at))


def _steps(
    kernel: Kernel,
    conditional: Denoiser,
    start: Iterator[State],
    times: Float[Tensor, " n"],
    corrections: int,
    at_once: int,
    y: Int[Tensor, " b"] | None,
    clamp: Int[Tensor, "b l"] | None,
    generator: RandomSource,
) -> Iterator[State]:
    state = next(start)
    yield state
    for i in range(1, len(times)):
        *_, state = trajectory(kernel, state.x, times[i - 1 : i + 1], y=y, clamp=clamp, generator=generator)
        x, s = state.x, times[i].to(state.x.device).expand(len(state.x))
        for _ in range(corrections if times[i] > 0 else 0):
            x = gibbs_step(conditional, x, s, at_once=at_once, y=y, clamp=clamp, generator=generator)
        yield State(float(times[i]), x)


@dataclass(frozen=True)
class GibbsCorrectedSampler(DiffusionSampler):
    """Ancestral sampler of uniform or marginal noise with Gibbs corrections; see `corrected` and `Sampler`.

    Args:
        process: Forward process without masks.
        lift: Function from denoiser to kernel.
        conditional: Function from denoiser to log p(x_t^l | x_t without l).
        steps: Number of steps, >= 1.
        corrections: Gibbs steps after each step, >= 0.
        at_once: Positions resampled by each of them, >= 1.
        grid: Times of the steps.

    Raises:
        ValueError: If a number is out of range.
    """

    process: ScheduledNoise
    lift: Lift
    conditional: ConditionalLift
    steps: int = 32
    corrections: int = 1
    at_once: int = 1
    grid: TimeGrid = equal_times

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_corrections(self.corrections, self.at_once)

    def run(self, model: GuidedModel) -> Run:
        """Return the run of the guided denoiser.

        Raises:
            ValueError: If there is guidance around the kernel, which corrections would undo.
        """
        model.check_kernel_is_unguided("GibbsCorrectedSampler")
        return Run(
            partial(
                corrected,
                model.kernel(self.lift),
                model.conditional(self.conditional),
                times=self.grid(self.steps, self.process.schedule),
                corrections=self.corrections,
                at_once=self.at_once,
            )
        )


def check_corrections(corrections: int, at_once: int) -> None:
    """Raise unless the numbers of Gibbs corrections are in range.

    Raises:
        ValueError: If `corrections` is negative, or `at_once` < 1.
    """
    if corrections < 0:
        raise ValueError(f"Expected `corrections` >= 0, got {corrections}.")
    if at_once < 1:
        raise ValueError(f"Expected `at_once` >= 1, got {at_once}.")
