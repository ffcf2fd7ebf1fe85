"""Times of the steps of a sampler, fitted to a model."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.guidance.protocols import Denoiser, Survival, evaluate
from discrete_diffusion.guidance.samplers.ancestral import check_times
from discrete_diffusion.guidance.streams import RandomSource, draw_uniform


def fitted_times(
    steps: int,
    schedule: Survival | None = None,
    *,
    candidates: Float[Tensor, " m"],
    costs: Float[Tensor, "m m"],
) -> Float[Tensor, " n"]:
    """Return the times among `candidates` whose steps have the smallest sum of costs.

    With the expected divergence of each step as its cost,

        costs[i, j] = E KL( q(x_s | x_t) || p(x_s | x_t) ),    t = candidates[i], s = candidates[j],

    the sum bounds the divergence of the samples from the data, and the grid is the one of the smallest bound: the
    objective of Jump Your Steps (arXiv 2410.07761), minimized over all grids at once by dynamic programming (arXiv
    2106.03802) instead of step by step. Terms that do not depend on the grid may be added: the terms of a bound on the
    likelihood in discrete time are such costs. For masked diffusion see `masked_step_costs`.

    `functools.partial(fitted_times, candidates=..., costs=...)` is a `TimeGrid`.

    Args:
        steps: Number of steps, >= 1.
        schedule: Ignored, as the times are those of `candidates`.
        candidates: Strictly descending times from 1 to 0.
        costs: Cost of the step from each candidate to each later one; only j > i is read.

    Returns:
        `steps` + 1 times.

    Raises:
        ValueError: If `candidates` is malformed or has too few steps, or a cost is NaN.
    """
    check_times(candidates)
    count = len(candidates)
    if float(candidates[0]) != 1 or float(candidates[-1]) != 0:
        raise ValueError(f"Expected `candidates` from 1 to 0, got {candidates.tolist()}.")
    if costs.shape != (count, count):
        raise ValueError(f"Expected `costs` of shape {(count, count)}, got {tuple(costs.shape)}.")
    if not 1 <= steps < count:
        raise ValueError(f"Expected 1 <= `steps` <= {count - 1} for {count} candidates, got {steps}.")
    later = torch.ones(count, count, dtype=torch.bool).triu(1)
    if bool(costs.cpu()[later].isnan().any()):
        raise ValueError("Expected `costs` without NaN.")
    edges = costs.double().cpu().masked_fill(~later, torch.inf)
    total, before = edges[0], []
    for _ in range(steps - 1):
        total, choice = (total[:, None] + edges).min(0)
        before.append(choice)
    path = [count - 1]
    for choice in reversed(before):
        path.append(int(choice[path[-1]]))
    return candidates[torch.tensor([0, *reversed(path)])].float()


def masked_step_costs(cross_entropy: Float[Tensor, " m"], survival: Float[Tensor, " m"]) -> Float[Tensor, "m m"]:
    """Return the expected divergence of each step of masked diffusion, up to a term that is the same for every grid.

    A step from t to s reveals each position with probability alpha_s - alpha_t, on the evidence at t:

        costs[i, j] = (alpha_j - alpha_i) h_i,

    h_i being the mean of -log p(x_0^l | x_t) at a masked position. The sum over a grid is a left Riemann sum of h over
    alpha; its excess over the integral is the divergence of the steps, in nats per token.

    Args:
        cross_entropy: h at each candidate time; see `masked_cross_entropy`.
        survival: alpha at each candidate time.
    """
    return (survival[None] - survival[:, None]) * cross_entropy[:, None]


def masked_cross_entropy(
    denoiser: Denoiser,
    x0: Int[Tensor, "b l"],
    times: Float[Tensor, " m"],
    *,
    mask_id: int,
    survival: Callable[[Tensor], Tensor],
    y: Int[Tensor, " b"] | None = None,
    generator: RandomSource = None,
) -> Float[Tensor, " m"]:
    """Return the mean of -log p(x_0^l | x_t) at a masked position, at each time, in nats.

    One position of each row, chosen uniformly at random, is masked; the others are masked with probability 1 -
    alpha(t). Costs one evaluation of each row at each time.

    Args:
        denoiser: Log-probabilities of the clean tokens.
        x0: Sequences of the data.
        times: Times of the estimates.
        mask_id: Token that stands for a mask.
        survival: alpha(t) of the noise schedule.
        y: Labels, passed to the denoiser.
        generator: Source of randomness, torch's default generator if None.
    """
    means = []
    rows = torch.arange(len(x0), device=x0.device)
    for t in times.to(x0.device):
        noise, chosen = draw_uniform((len(x0), 2, x0.shape[1]), generator, x0.device).unbind(1)
        position = chosen.argmax(1)
        masked = noise >= survival(t.double())
        masked[rows, position] = True
        at = torch.zeros_like(masked)
        at[rows, position] = True
        with torch.no_grad():
            log_probs = evaluate(denoiser, x0.masked_fill(masked, mask_id), t.expand(len(x0)), y=y, at=at)
        means.append(-log_probs.double().gather(-1, x0[rows, position][:, None]).mean())
    return torch.stack(means)
