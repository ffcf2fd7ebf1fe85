"""Masked sequences of which the best-scored positions are kept in every step."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.drawing import sample_categorical
from discrete_diffusion.guidance.protocols import ConditionalLift, Denoiser, ScheduledNoise, evaluate
from discrete_diffusion.guidance.samplers.ancestral import check_times
from discrete_diffusion.guidance.samplers.clamping import check_clamp, hold
from discrete_diffusion.guidance.samplers.diffusion import DiffusionSampler, GuidedModel, Run, check_steps, masking
from discrete_diffusion.guidance.samplers.times import TimeGrid, equal_times
from discrete_diffusion.guidance.state import State
from discrete_diffusion.guidance.streams import RandomSource, selected_rows


def path_planning(
    denoiser: Denoiser,
    planner: Denoiser,
    xt: Int[Tensor, "b l"],
    times: Float[Tensor, " n"],
    *,
    mask_id: int,
    survival: Callable[[Tensor], Tensor],
    eta: float | int = 1,
    y: Int[Tensor, " b"] | None = None,
    clamp: Int[Tensor, "b l"] | None = None,
    generator: RandomSource = None,
) -> Iterator[State]:
    """Yield every state of path planning (P2, arXiv 2502.03540): revealed tokens compete with new ones for their place.

    Each step draws a token at every mask, scores every free position, and keeps the best

        floor(n alpha_s)    of n free positions

    for a step to s; the others are masks afterwards, so that after each step exactly n - floor(n alpha_s) masks are
    left. The score of a mask is log p of its drawn token under the denoiser. That of a revealed token is `eta` times
    its log p under the planner, which must rate visible tokens: a denoiser that carries visible tokens over gives each
    of them probability one, and nothing would ever be masked again. Scores that agree to four decimals
    are kept from left to right.

    With `eta` = 0 revealed tokens are kept for good, and the order is that of the drawn tokens' probabilities. The
    samples do not have the distribution of the model, and repeat themselves as those of orders by confidence do. A step
    costs one evaluation of the denoiser, and one of the planner in the rows that have revealed tokens.

    Args:
        denoiser: Log-probabilities of the clean tokens.
        planner: Log-probabilities of the tokens at visible positions, with the signature of a denoiser.
        xt: Tokens to start from, masks where they are to be generated.
        times: Strictly descending in [0, 1]; the step to 0 reveals every mask.
        mask_id: Token that stands for a mask.
        survival: alpha(t) of the noise schedule.
        eta: Factor of the revealed tokens' scores, >= 0: larger ones are masked more often.
        y: Labels, passed to both models.
        clamp: Token that each position must hold, -1 where it is free. Clamped tokens are never masked.
        generator: Source of randomness, torch's default generator if None.

    Raises:
        ValueError: If `times` or `clamp` is malformed or `eta` negative (at once), or a model returns the wrong shape
            (while iterating).
    """
    check_times(times)
    check_clamp(clamp, xt)
    check_eta(eta)
    free = torch.ones_like(xt, dtype=torch.bool) if clamp is None else clamp < 0
    return _steps(denoiser, planner, hold(xt, clamp), free, times, mask_id, survival, eta, y, generator)


def kept_positions(free: Int[Tensor, " b"], alpha: float) -> Int[Tensor, " b"]:
    """Return floor(n alpha) for each number n of free positions; times in float32 do not lower it."""
    return (free * (alpha + 1e-6)).floor().long().clamp(max=free)


def _steps(
    denoiser: Denoiser,
    planner: Denoiser,
    x: Int[Tensor, "b l"],
    free: Bool[Tensor, "b l"],
    times: Float[Tensor, " n"],
    mask_id: int,
    survival: Callable[[Tensor], Tensor],
    eta: float | int,
    y: Int[Tensor, " b"] | None,
    generator: RandomSource,
) -> Iterator[State]:
    grid = times.to(x.device)
    alpha = survival(times.double())
    alpha[times == 0] = 1.0
    yield State(float(times[0]), x)
    for i in range(len(times) - 1):
        with torch.no_grad():
            rows = ((x == mask_id) & free).any(1)
            if bool(rows.any()):
                labels, t = None if y is None else y[rows], grid[i].expand(int(rows.sum()))
                seen, masked = x[rows], x[rows] == mask_id
                revealed = ~masked & free[rows]
                drawn, scores = _draw(denoiser, seen, masked, t, labels, selected_rows(generator, rows))
                scores = scores.masked_scatter(revealed, eta * _rate(planner, seen, revealed, t, labels))
                scores = scores.masked_fill(~free[rows], -math.inf)
                count = kept_positions(free[rows].sum(1), float(alpha[i + 1]))
                # To four decimals: a network's rounding, which depends on its batch, does not order positions.
                order = scores.round(decimals=4).sort(dim=-1, descending=True, stable=True).indices
                first = torch.arange(x.shape[1], device=x.device) < count[:, None]
                kept = torch.zeros_like(masked).scatter(-1, order, first) | ~free[rows]
                x = x.clone()
                x[rows] = drawn.masked_fill(~kept, mask_id)
        yield State(float(times[i + 1]), x)


def _draw(
    denoiser: Denoiser,
    x: Int[Tensor, "b l"],
    masked: Bool[Tensor, "b l"],
    t: Float[Tensor, " b"],
    y: Int[Tensor, " b"] | None,
    generator: RandomSource,
) -> tuple[Int[Tensor, "b l"], Float[Tensor, "b l"]]:
    """Return `x` with a token drawn at every mask, and the log-probabilities of those tokens."""
    log_probs = _at(denoiser, x, masked, t, y, "denoiser")
    tokens = sample_categorical(log_probs, generator, at=masked)
    scores = log_probs.double().gather(-1, tokens[:, None])[:, 0]
    return x.masked_scatter(masked, tokens), scores.new_zeros(x.shape).masked_scatter(masked, scores)


def _rate(
    planner: Denoiser,
    x: Int[Tensor, "b l"],
    revealed: Bool[Tensor, "b l"],
    t: Float[Tensor, " b"],
    y: Int[Tensor, " b"] | None,
) -> Float[Tensor, " n"]:
    """Return the planner's log-probabilities of the revealed tokens."""
    rows = revealed.any(1)
    if not bool(rows.any()):
        return torch.zeros(0, dtype=torch.float64, device=x.device)
    at = revealed[rows]
    log_probs = _at(planner, x[rows], at, t[rows], None if y is None else y[rows], "planner")
    # A token that the planner excludes keeps a finite score, so that `eta` = 0 is defined.
    return log_probs.double().gather(-1, x[rows][at][:, None])[:, 0].clamp(min=-1e9)


def _at(
    model: Denoiser,
    x: Int[Tensor, "b l"],
    at: Bool[Tensor, "b l"],
    t: Float[Tensor, " b"],
    y: Int[Tensor, " b"] | None,
    name: str,
) -> Float[Tensor, "n v"]:
    log_probs = evaluate(model, x, t, y=y, at=at)
    if log_probs.ndim != 2 or len(log_probs) != int(at.sum()):
        raise ValueError(
            f"Expected the {name} to return ({int(at.sum())}, vocabulary) for the positions of `at`, got "
            f"{tuple(log_probs.shape)}."
        )
    return log_probs


@dataclass(frozen=True)
class PathPlanningSampler(DiffusionSampler):
    """Sampler of masked diffusion that plans which positions to keep; see `path_planning` and `Sampler`.

    Args:
        process: Masked diffusion.
        planner: Function from denoiser to a model that rates visible tokens, such as
            `discrete_diffusion.processes.RawPrediction`.
        eta: Factor of the revealed tokens' scores, >= 0.
        steps: Number of steps, >= 1.
        grid: Times of the steps.

    Raises:
        ValueError: If `process` has no masks, or a number is out of range.
    """

    process: ScheduledNoise
    planner: ConditionalLift
    eta: float | int = 1
    steps: int = 32
    grid: TimeGrid = equal_times

    def __post_init__(self) -> None:
        masking(self.process, "PathPlanningSampler")
        check_steps(self.steps)
        check_eta(self.eta)

    def run(self, model: GuidedModel) -> Run:
        """Return the run of the guided denoiser.

        Raises:
            ValueError: If there is guidance around the kernel.
        """
        model.check_kernel_is_unguided("PathPlanningSampler")
        process = masking(self.process, "PathPlanningSampler")
        return Run(
            partial(
                path_planning,
                model.denoiser,
                self.planner(denoiser=model.denoiser),
                times=self.grid(self.steps, process.schedule),
                mask_id=process.mask_id,
                survival=process.schedule.alpha,
                eta=self.eta,
            )
        )


def check_eta(eta: float | int) -> None:
    """Raise unless `eta` is at least 0.

    Raises:
        ValueError: If it is not.
    """
    if not eta >= 0:
        raise ValueError(f"Expected `eta` >= 0, got {eta}.")
