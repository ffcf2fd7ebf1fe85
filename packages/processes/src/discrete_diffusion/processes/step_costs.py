"""Costs of the steps of a time grid."""

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from discrete_diffusion.processes.process import Process
from discrete_diffusion.processes.protocols import Condition, Denoiser, given


def step_costs(
    process: Process,
    denoiser: Denoiser,
    x0: Int[Tensor, "b l"],
    times: Float[Tensor, " m"],
    y: Condition | None = None,
    *,
    generator: Generator | None = None,
) -> Float[Tensor, "m m"]:
    """Return the mean loss of the step from each time t to each later time s, in nats per token.

        costs[i, j] = E KL(q(x_s | x_t, x_0) || p(x_s | x_t)),    t = times[i], s = times[j] < t

    Summed over the steps of a grid, with the prior loss, they are the discrete-time bound on -log p(x_0) (D3PM, arXiv
    2107.03006). Its excess over the entropy of the data bounds the divergence of ancestral samples from the data, so
    these are the costs for which `discrete_diffusion.guidance.fitted_times` finds the best grid. All steps from one
    time share a noisy sequence and an evaluation of the denoiser: m - 1 evaluations of each sequence in all.

    Args:
        process: Forward process.
        denoiser: Denoiser.
        x0: Clean sequences.
        times: Descending times from 1 to 0.
        y: Labels of the sequences, passed to the denoiser.
        generator: Source of randomness of the noisy sequences.

    Returns:
        Costs in double precision, zero for j <= i.
    """
    costs = torch.zeros(len(times), len(times), dtype=torch.float64)
    with torch.no_grad():
        for i, t in enumerate(times[:-1]):
            rows = t.expand(len(x0))
            xt = process.corrupt(x0, rows, generator=generator)
            log_x0 = denoiser(xt, rows, **given(y=y))
            for j, s in enumerate(times[i + 1 :], i + 1):
                costs[i, j] = process.step_loss(log_x0, x0, xt, rows, s.expand(len(x0))).double().mean()
    return costs
