"""Sampling by the rates of the reverse jump process, to first and second order."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.drawing import sample_categorical
from discrete_diffusion.guidance.protocols import Denoiser, Kernel, Lift, ScheduledNoise, evaluate
from discrete_diffusion.guidance.samplers.ancestral import check_times, trajectory
from discrete_diffusion.guidance.samplers.clamping import check_clamp, hold
from discrete_diffusion.guidance.samplers.diffusion import DiffusionSampler, GuidedModel, Run, check_steps
from discrete_diffusion.guidance.samplers.times import TimeGrid, equal_times
from discrete_diffusion.guidance.state import State
from discrete_diffusion.guidance.streams import RandomSource

LogRates: TypeAlias = Callable[..., Tensor]
"""`(xt, t, *, y)` -> log-rates (b, l, v) of the reverse jumps to each token; -inf at the present token."""

RatesLift: TypeAlias = Callable[..., LogRates]
"""`(*, denoiser)` -> log-rates of the denoiser."""


@dataclass(frozen=True)
class TauLeaping:
    """Kernel of a first-order leap: each position jumps at most once, at the rates of the step's beginning.

    See `leap` (arXiv 2205.14987). For masks the ancestral kernel, which knows the schedule within the step, is more
    accurate at the same cost. The step to s = 0 is that of `last_step`, since rates diverge there.

    Args:
        rates: Log-rates of the reverse jumps.
        last_step: log p(x_s | x_t, y) of the step to s = 0.
    """

    rates: LogRates
    last_step: Kernel

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        s: Float[Tensor, " b"],
        /,
        *,
        y: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b l v"]:
        """Return log p(x_s | x_t, y) of the step from t to s."""
        if bool((s == 0).all()):
            return evaluate(self.last_step, xt, t, s, y=y)
        return leap(evaluate(self.rates, xt, t, y=y).exp(), xt, t - s)


def leaping_kernel(denoiser: Denoiser, *, rates: RatesLift, last_step: Lift) -> TauLeaping:
    """Return the kernel of a first-order leap of a denoiser: a lift, once `rates` and `last_step` are bound.

    Args:
        denoiser: Log-probabilities of the clean tokens.
        rates: Function from denoiser to log-rates.
        last_step: Function from denoiser to the kernel of the step to s = 0.
    """
    return TauLeaping(rates(denoiser=denoiser), last_step(denoiser=denoiser))


def trapezoidal(
    rates: LogRates,
    last_step: Kernel,
    xt: Int[Tensor, "b l"],
    times: Float[Tensor, " n"],
    *,
    theta: float = 0.5,
    y: Int[Tensor, " b"] | None = None,
    clamp: Int[Tensor, "b l"] | None = None,
    generator: RandomSource = None,
) -> Iterator[State]:
    """Yield every state of the theta-trapezoidal scheme (arXiv 2502.00234, algorithm 2), two evaluations a step.

    The first stage leaps by theta Delta at the rates mu of x_t; the second goes on from there for (1 - theta) Delta at

        [a1 mu* - a2 mu]_+,    a1 = 1 / (2 theta (1 - theta)),    a2 = a1 - 1,

    with mu* the rates at the intermediate state. Where no rate is cut at zero the scheme is of second order: halving
    the step divides the error by four. A rate is cut where one jump divides another's rate by more than a1 / a2, which
    is 2 at theta = 1/2: there the order falls back to one, with a small constant.

    The step to 0 is one of the kernel `last_step`, such as the ancestral one, since the rates of masks diverge at
    t = 0. Its error is of first order in its length: use a grid that ends in small steps.

    Args:
        rates: Log-rates of the reverse jumps, from a guided denoiser too.
        last_step: log p(x_s | x_t, y) of the step to s = 0.
        xt: Tokens at times[0].
        times: Strictly descending in [0, 1].
        theta: Share of the step taken by the first stage, in (0, 1).
        y: Labels, passed to both models.
        clamp: Token that each position must hold, -1 where it is free.
        generator: Source of randomness, torch's default generator if None.

    Raises:
        ValueError: If `theta`, `times` or `clamp` is malformed (at once).
    """
    check_theta(theta)
    check_times(times)
    check_clamp(clamp, xt)
    return _steps(rates, last_step, xt, times, theta, y, clamp, generator)


def leap(rates: Float[Tensor, "b l v"], x: Int[Tensor, "b l"], duration: Float[Tensor, " b"]) -> Float[Tensor, "b l v"]:
    """Return the log-probabilities of the first jump of each position within a duration at constant rates, or of none.

        p(stay) = exp(-duration R),    p(v) = (1 - exp(-duration R)) rate(v) / R,    R = sum over v of rate(v)

    A rate at the present token counts for nothing.
    """
    stays = torch.arange(rates.shape[-1], device=x.device) == x[..., None]
    moves = rates.masked_fill(stays, 0)
    total = moves.sum(-1, keepdim=True)
    expected = duration[:, None, None] * total
    jump = -torch.expm1(-expected) * moves / total.masked_fill(total == 0, 1)
    return torch.where(stays, -expected, jump.log())


def second_stage(first: Float[Tensor, "b l v"], later: Float[Tensor, "b l v"], theta: float) -> Float[Tensor, "b l v"]:
    """Return [a1 mu* - a2 mu]_+ from the rates mu at the step's beginning and mu* at the intermediate state."""
    a = 1 / (2 * theta * (1 - theta))
    return (a * later - (a - 1) * first).clamp(min=0)


def _steps(
    rates: LogRates,
    last_step: Kernel,
    xt: Int[Tensor, "b l"],
    times: Float[Tensor, " n"],
    theta: float,
    y: Int[Tensor, " b"] | None,
    clamp: Int[Tensor, "b l"] | None,
    generator: RandomSource,
) -> Iterator[State]:
    x, grid = hold(xt, clamp), times.to(xt.device)
    yield State(float(times[0]), x)
    for i in range(1, len(times)):
        if times[i] == 0:
            *_, state = trajectory(last_step, x, times[i - 1 : i + 1], y=y, clamp=clamp, generator=generator)
            yield state
            return
        with torch.no_grad():
            t, duration = grid[i - 1].expand(len(x)), (grid[i - 1] - grid[i]).expand(len(x))
            first = evaluate(rates, x, t, y=y).exp()
            middle = hold(sample_categorical(leap(first, x, theta * duration), generator), clamp)
            later = evaluate(rates, middle, t - theta * duration, y=y).exp()
            second = leap(second_stage(first, later, theta), middle, (1 - theta) * duration)
            x = hold(sample_categorical(second, generator), clamp)
        yield State(float(times[i]), x)


@dataclass(frozen=True)
class TrapezoidalSampler(DiffusionSampler):
    """Sampler by the theta-trapezoidal scheme, two evaluations a step; see `trapezoidal` and `Sampler`.

    Args:
        process: Forward process.
        rates: Function from denoiser to log-rates of the reverse jumps.
        lift: Function from denoiser to the kernel of the last step.
        steps: Number of steps, >= 1.
        theta: Share of the step taken by the first stage, in (0, 1).
        grid: Times of the steps.

    Raises:
        ValueError: If a number is out of range.
    """

    process: ScheduledNoise
    rates: RatesLift
    lift: Lift
    steps: int = 32
    theta: float = 0.5
    grid: TimeGrid = equal_times

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_theta(self.theta)

    def run(self, model: GuidedModel) -> Run:
        """Return the run of the guided denoiser.

        Raises:
            ValueError: If there is guidance around the kernel.
        """
        model.check_kernel_is_unguided("TrapezoidalSampler")
        rates = self.rates(denoiser=model.denoiser)
        return Run(
            partial(
                trapezoidal,
                rates if model.latents is None else _AllowedRates(rates, model.latents),
                model.kernel(self.lift),
                times=self.grid(self.steps, self.process.schedule),
                theta=self.theta,
            )
        )


# Tensors have no equality that is a single truth value.
@dataclass(frozen=True, eq=False)
class _AllowedRates:
    """Rates of the jumps to allowed tokens; the others never happen."""

    rates: LogRates
    allowed: Bool[Tensor, "l v"]

    def __call__(
        self, xt: Int[Tensor, "b l"], t: Float[Tensor, " b"], /, *, y: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b l v"]:
        return evaluate(self.rates, xt, t, y=y).masked_fill(~self.allowed, -torch.inf)


def check_theta(theta: float) -> None:
    """Raise unless `theta` is in (0, 1).

    Raises:
        ValueError: If it is not.
    """
    if not 0 < theta < 1:
        raise ValueError(f"Expected 0 < `theta` < 1, got {theta}.")
