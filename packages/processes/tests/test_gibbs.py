"""Gibbs steps on the noisy sequence, as matrices over all sequences."""

import pytest
import torch

from discrete_diffusion.processes import Absorbing, NoisyConditional, Uniform
from discrete_diffusion.schedules import LogLinear

NOISY = ["uniform", "uniform-mean", "marginal", "marginal-mean"]


@pytest.fixture(params=NOISY)
def kind(request):
    return request.param


def gibbs_matrix(oracle, conditional, position):
    """The transition matrix of resampling one position."""
    n = len(oracle.sequences)
    matrix = torch.zeros(n, n, dtype=torch.float64)
    for token in range(oracle.vocab_size):
        moved = oracle.sequences.clone()
        moved[:, position] = token
        matrix[torch.arange(n), oracle.index(moved)] += conditional[:, position, token]
    return matrix


@pytest.mark.parametrize("time", [0.9, 0.5, 0.05])
def test_resampling_one_position_leaves_the_noisy_distribution_invariant(world, time):
    oracle, t = world.oracle, torch.full((27,), time, dtype=torch.float64)
    marginal = oracle.joint @ oracle.corruption(world.schedule.alpha(t[0]).item())
    conditional = NoisyConditional(world.process, world.denoiser)(oracle.sequences, t).exp()
    for position in range(3):
        matrix = gibbs_matrix(oracle, conditional, position)
        torch.testing.assert_close(matrix.sum(1), torch.ones(27, dtype=torch.float64))
        torch.testing.assert_close(marginal @ matrix, marginal, atol=1e-10, rtol=0)


def test_resampling_all_positions_at_once_does_not(log_linear_world):
    oracle, t = log_linear_world.oracle, torch.full((27,), 0.5, dtype=torch.float64)
    marginal = oracle.joint @ oracle.corruption(log_linear_world.schedule.alpha(t[0]).item())
    conditional = NoisyConditional(log_linear_world.process, log_linear_world.denoiser)(oracle.sequences, t).exp()
    assert (marginal @ oracle.transition(conditional) - marginal).abs().sum() > 1e-3


def test_positions_are_selected(log_linear_world):
    world, oracle = log_linear_world, log_linear_world.oracle
    t = torch.full((27,), 0.5, dtype=torch.float64)
    at = (torch.arange(81) % 4 == 1).view(27, 3)

    def denoiser(xt, t, y=None, at=None):
        log_x0 = world.denoiser(xt, t)
        return log_x0 if at is None else log_x0[at]

    conditional = NoisyConditional(world.process, denoiser)
    torch.testing.assert_close(conditional(oracle.sequences, t, at=at), conditional(oracle.sequences, t)[at])


def test_a_low_temperature_sharpens(log_linear_world):
    world, oracle = log_linear_world, log_linear_world.oracle
    t = torch.full((27,), 0.2, dtype=torch.float64)
    sharp = NoisyConditional(world.process, world.denoiser, temperature=0.25)(oracle.sequences, t)
    plain = NoisyConditional(world.process, world.denoiser)(oracle.sequences, t)
    assert (-(sharp.exp() * sharp).sum(-1) < -(plain.exp() * plain).sum(-1)).float().mean() > 0.9


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="Expected uniform or marginal noise"):
        NoisyConditional(Absorbing(LogLinear(), 3, 2), lambda xt, t: xt)
    with pytest.raises(ValueError, match="Expected `temperature` > 0, got 0"):
        NoisyConditional(Uniform(LogLinear(), 3), lambda xt, t: xt, 0)
