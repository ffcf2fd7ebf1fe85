"""Costs of the steps of a time grid, against enumeration."""

import math
from itertools import combinations

import pytest
import torch

from discrete_diffusion.processes import step_costs


def test_costs_are_the_expected_losses_of_the_steps(log_linear_world, generator):
    world = log_linear_world
    process, sequences = world.process, world.oracle.sequences
    times = torch.tensor([1.0, 0.6, 0.3, 0.0], dtype=torch.float64)
    draws = 4000
    x0 = sequences[torch.multinomial(world.oracle.joint, draws, replacement=True, generator=generator)]
    costs = step_costs(process, world.denoiser, x0, times, generator=generator)
    for i, j in combinations(range(4), 2):
        t, s = (time.expand(27) for time in (times[i], times[j]))
        noisy = world.oracle.corruption(world.schedule.alpha(times[i]).item())
        log_x0 = world.denoiser(sequences, t)
        exact, square = 0.0, 0.0
        for index in world.oracle.joint.nonzero().flatten():
            probability, clean, weights = world.oracle.joint[index], sequences[index], noisy[index]
            losses = process.step_loss(log_x0, clean.expand(27, 3), sequences, t, s).mean(-1)
            losses = torch.where(weights > 0, losses, 0.0)
            exact += (probability * weights * losses).sum().item()
            square += (probability * weights * losses**2).sum().item()
        error = math.sqrt(max(square - exact**2, 0.0) / draws)
        assert costs[i, j].item() == pytest.approx(exact, abs=5 * error + 1e-9)
    assert not costs.tril().any()


def test_a_network_is_evaluated_once_for_each_time(log_linear_world):
    world = log_linear_world
    calls = []

    def denoiser(xt, t):
        calls.append(t[0].item())
        return world.denoiser(xt, t)

    step_costs(world.process, denoiser, world.oracle.sequences[:5], torch.tensor([1.0, 0.5, 0.25, 0.0]).double())
    assert calls == [1.0, 0.5, 0.25]
