"""Absorbing form of uniform and marginal diffusion, in which tokens settle one after another."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.drawing import invert_cdf
from discrete_diffusion.guidance.protocols import ConditionalLift, Denoiser, ScheduledNoise, evaluate
from discrete_diffusion.guidance.samplers.ancestral import check_times
from discrete_diffusion.guidance.samplers.clamping import check_clamp, hold
from discrete_diffusion.guidance.samplers.diffusion import DiffusionSampler, GuidedModel, Run, check_steps
from discrete_diffusion.guidance.samplers.times import TimeGrid, equal_times
from discrete_diffusion.guidance.state import State
from discrete_diffusion.guidance.streams import RandomSource, draw_uniform


# Tensors have no equality that is a single truth value.
@dataclass(frozen=True, eq=False)
class SettlingState(State):
    """Tokens at one time, and which of them are noise.

    Args:
        t: Time, from 1 (noise) to 0 (data).
        x: Tokens.
        noise: True where the token is noise, False where it has settled.
    """

    noise: Bool[Tensor, "b l"]


def settling(
    rest: Denoiser,
    xt: Int[Tensor, "b l"],
    times: Float[Tensor, " n"],
    *,
    log_noise: Float[Tensor, "*p v"],
    survival: Callable[[Tensor], Tensor],
    redraw: float | int = 1,
    y: Int[Tensor, " b"] | None = None,
    clamp: Int[Tensor, "b l"] | None = None,
    generator: RandomSource = None,
) -> Iterator[SettlingState]:
    """Yield every state of uniform or marginal diffusion in its absorbing form (arXiv 2605.22765).

    Each token is either noise or settled, that is, equal to its clean token. Given x_t, a token is settled with
    probability

        alpha_t p(x_t) / (alpha_t p(x_t) + (1 - alpha_t) pi(x_t)),    p = p(x_0^l | x_t without l).

    In a step from t to s a settled token stays. A noisy one settles with probability (alpha_s - alpha_t) / (1 -
    alpha_t) on a token drawn from p, and otherwise stays noise: the same token with probability alpha_t / alpha_s, a
    new draw from pi if not. Summed over the two cases this is the ancestral kernel p(x_s | x_t), exactly.

    A step starts by drawing anew, with probability `redraw` for each token, whether it is noise. With `redraw` = 1 the
    samples have the distribution of ancestral sampling. With less, tokens keep their state from the step before: a
    settled token is rarely touched again, as in masked diffusion, and with `redraw` = 0 never. Then only tokens that
    settle are evaluated, which costs n (1 - (1 - 1 / n)^L) evaluations of a sequence of L tokens in n equal steps of
    survival. For `redraw` < 1 the samples do not converge to the data even with the exact denoiser, since it does not
    know which of the other tokens have settled.

    Args:
        rest: log p(x_0^l | x_t without l, y), with the signature of a denoiser, `at` included.
        xt: Tokens at times[0], all of them noise but for clamped ones.
        times: Strictly descending in [0, 1]; the step to 0 settles every token.
        log_noise: log pi, for all positions or for each.
        survival: alpha(t) of the noise schedule.
        redraw: Probability with which a token's state is drawn anew before a step, in [0, 1].
        y: Labels, passed to the denoiser.
        clamp: Token that each position must hold, -1 where it is free.
        generator: Source of randomness, torch's default generator if None.

    Raises:
        ValueError: If `redraw` is out of range, or `times` or `clamp` is malformed (at once).
    """
    check_redraw(redraw)
    check_times(times)
    check_clamp(clamp, xt)
    free = torch.ones_like(xt, dtype=torch.bool) if clamp is None else clamp < 0
    log_noise = log_noise.double().log_softmax(-1).to(xt.device).expand(xt.shape[1], -1)
    return _steps(rest, hold(xt, clamp), free, times, log_noise, survival, redraw, y, generator)


def _steps(
    rest: Denoiser,
    x: Int[Tensor, "b l"],
    free: Bool[Tensor, "b l"],
    times: Float[Tensor, " n"],
    log_noise: Float[Tensor, "l v"],
    survival: Callable[[Tensor], Tensor],
    redraw: float | int,
    y: Int[Tensor, " b"] | None,
    generator: RandomSource,
) -> Iterator[SettlingState]:
    alphas = torch.where(times > 0, survival(times.double()), 1.0).tolist()
    grid, noise = times.to(x.device), free
    yield SettlingState(float(times[0]), x, noise)
    for i, (alpha, later) in enumerate(itertools.pairwise(alphas)):
        # All draws come first, whether they are needed or not: each step takes the same count of numbers.
        again, state, settle, renew, token = draw_uniform((len(x), 5, x.shape[1]), generator, x.device).unbind(1)
        anew = free & (again < redraw)
        settles = settle < (later - alpha) / (1 - alpha)
        at = anew | (noise & settles)
        rows = at.any(1)
        if bool(rows.any()):
            with torch.no_grad():
                t = grid[i].expand(int(rows.sum()))
                log_p = evaluate(rest, x[rows], t, y=None if y is None else y[rows], at=at[rows])
            drawn = x.masked_scatter(at, invert_cdf(log_p, token[at]))
            likely = alpha * log_p.gather(-1, x[at][:, None])[:, 0].double().exp()
            random = (1 - alpha) * log_noise.expand(*x.shape, -1)[at].gather(-1, x[at][:, None])[:, 0].exp()
            noise = noise.where(~anew, noise.masked_scatter(at, state[at] * (likely + random) >= likely))
        settled = noise & settles
        fresh = noise & ~settles & (renew >= alpha / later)
        renewed = x.masked_scatter(fresh, invert_cdf(log_noise.expand(*x.shape, -1)[fresh], token[fresh]))
        x = drawn.where(settled, renewed) if bool(settled.any()) else renewed
        noise = noise & ~settled
        yield SettlingState(float(times[i + 1]), x, noise)


@dataclass(frozen=True)
class SettlingSampler(DiffusionSampler):
    """Sampler of uniform or marginal noise in its absorbing form; see `settling` and `Sampler`.

    Args:
        process: Forward process without masks.
        rest: Function from denoiser to log p(x_0^l | x_t without l).
        steps: Number of steps, >= 1.
        redraw: Probability with which a token's state is drawn anew before a step, in [0, 1].
        grid: Times of the steps.

    Raises:
        ValueError: If a number is out of range.
    """

    process: ScheduledNoise
    rest: ConditionalLift
    steps: int = 32
    redraw: float | int = 1
    grid: TimeGrid = equal_times

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_redraw(self.redraw)

    def run(self, model: GuidedModel) -> Run:
        """Return the run of the guided denoiser.

        Raises:
            ValueError: If there is guidance around the kernel.
        """
        model.check_kernel_is_unguided("SettlingSampler")
        log_noise = self.process.log_noise(torch.ones((), dtype=torch.float64))
        if model.latents is not None:
            log_noise = log_noise.to(model.latents.device).where(model.latents, -torch.inf)
        return Run(
            partial(
                settling,
                model.conditional(self.rest),
                times=self.grid(self.steps, self.process.schedule),
                log_noise=log_noise,
                survival=self.process.schedule.alpha,
                redraw=self.redraw,
            )
        )


def check_redraw(redraw: float | int) -> None:
    """Raise unless `redraw` is a probability.

    Raises:
        ValueError: If it is not.
    """
    if not 0 <= redraw <= 1:
        raise ValueError(f"Expected 0 <= `redraw` <= 1, got {redraw}.")
