"""Ancestral sampling of diffusion models."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.guidance.drawing import sample_categorical
from discrete_diffusion.guidance.log_probs import check_log_probs
from discrete_diffusion.guidance.protocols import Kernel, Lift, ScheduledNoise, evaluate
from discrete_diffusion.guidance.samplers.clamping import check_clamp, hold
from discrete_diffusion.guidance.samplers.diffusion import DiffusionSampler, GuidedModel, Run, check_steps
from discrete_diffusion.guidance.samplers.times import TimeGrid, equal_times
from discrete_diffusion.guidance.state import State, last
from discrete_diffusion.guidance.streams import RandomSource


def trajectory(
    kernel: Kernel,
    xt: Int[Tensor, "b l"],
    times: Float[Tensor, " n"],
    *,
    y: Int[Tensor, " b"] | None = None,
    clamp: Int[Tensor, "b l"] | None = None,
    generator: RandomSource = None,
) -> Iterator[State]:
    """Yield every state of ancestral sampling: x_{t_0} = `xt`, then x_{t_i} ~ p(x_{t_i} | x_{t_{i-1}}, y) in turn.

    Progress bars, pictures and early stopping belong in the caller's loop. Gradients are disabled; a kernel that needs
    them enables them itself.

    Clamped positions hold their tokens in every state, the first included. For an absorbing process, this is exact
    infilling: an unmasked token is clean, so the denoiser predicts p(x_0 | clamped tokens), and the distribution tends
    to the exact conditional one as the steps get finer. For processes whose noise looks like data (uniform, marginal),
    it is a heuristic: to the denoiser, a clamped token may be noise, so it gets too little weight while t is large.

    Args:
        kernel: log p(x_s | x_t, y), (b, l, v).
        xt: Tokens at times[0]; a draw from the prior for times[0] = 1.
        times: Strictly descending times in [0, 1]; n times are n - 1 steps.
        y: Labels, passed to the kernel.
        clamp: Token that each position must hold, -1 where it is free.
        generator: Source of randomness, torch's default generator if None.

    Raises:
        ValueError: If `times` or `clamp` is malformed (at once), or the kernel returns the wrong shape (while
            iterating).
    """
    check_times(times)
    check_clamp(clamp, xt)
    return _steps(kernel, xt, times, y, clamp, generator)


def sample(
    kernel: Kernel,
    xt: Int[Tensor, "b l"],
    times: Float[Tensor, " n"],
    *,
    y: Int[Tensor, " b"] | None = None,
    clamp: Int[Tensor, "b l"] | None = None,
    generator: RandomSource = None,
) -> Int[Tensor, "b l"]:
    """Return the tokens at the end of `trajectory`, which must be t = 0.

    Raises:
        ValueError: As `trajectory`, and if `times` does not end at 0.
    """
    states = trajectory(kernel, xt, times, y=y, clamp=clamp, generator=generator)
    if times[-1] != 0:
        raise ValueError(f"Expected `times` to end at 0, got {float(times[-1])}: use `trajectory` to stop before.")
    return last(states)


def _steps(
    kernel: Kernel,
    xt: Int[Tensor, "b l"],
    times: Float[Tensor, " n"],
    y: Int[Tensor, " b"] | None,
    clamp: Int[Tensor, "b l"] | None,
    generator: RandomSource,
) -> Iterator[State]:
    x = hold(xt, clamp)
    grid = times.to(x.device)
    at = times.tolist()
    yield State(at[0], x)
    for i in range(1, len(at)):
        # Not around the yield, so that the caller's code between two states keeps its own mode.
        with torch.no_grad():
            log_probs = evaluate(kernel, x, grid[i - 1].expand(len(x)), grid[i].expand(len(x)), y=y)
            x = hold(sample_categorical(check_log_probs(log_probs, x.shape, "kernel"), generator), clamp)
        yield State(at[i], x)


def check_times(times: Float[Tensor, " n"]) -> None:
    """Raise unless `times` are at least two, strictly descending, and in [0, 1].

    Raises:
        ValueError: If they are not.
    """
    if times.ndim != 1 or len(times) < 2:
        raise ValueError(f"Expected `times` to be a line of at least 2 times, got shape {tuple(times.shape)}.")
    if not bool(((times >= 0) & (times <= 1)).all()):
        raise ValueError(f"Expected `times` in [0, 1], got {times.tolist()}.")
    if not bool((times.diff() < 0).all()):
        raise ValueError(f"Expected strictly descending `times`, from noise (1) to data (0), got {times.tolist()}.")


@dataclass(frozen=True)
class AncestralSampler(DiffusionSampler):
    """Sampler of a diffusion model in steps of its reverse kernel; see `trajectory` and `Sampler`.

    Args:
        process: Forward process, whose noise sampling starts from.
        lift: Function from denoiser to kernel, called as `lift(denoiser=...)`.
        steps: Number of steps, >= 1.
        grid: Times of the steps.

    Raises:
        ValueError: If `steps` < 1.
    """

    process: ScheduledNoise
    lift: Lift
    steps: int = 32
    grid: TimeGrid = equal_times

    def __post_init__(self) -> None:
        check_steps(self.steps)

    def run(self, model: GuidedModel) -> Run:
        """Return the run of the guided kernel."""
        kernel, times = model.kernel(self.lift), self.grid(self.steps, self.process.schedule)
        return Run(partial(trajectory, kernel, times=times), kernel, times)
