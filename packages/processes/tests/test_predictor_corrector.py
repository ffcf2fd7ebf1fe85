"""Predictor-corrector kernels, against sums over the clean token."""

import pytest
import torch

from discrete_diffusion.processes import Ancestral, PredictorCorrector, Uniform
from discrete_diffusion.schedules import LogLinear


def alpha_at(schedule, t):
    return schedule.alpha(torch.tensor(t, dtype=torch.float64)).item() if t > 0 else 1.0


@pytest.mark.parametrize(("t", "s"), [(1.0, 0.9), (0.7, 0.2), (0.5, 0.0)])
@pytest.mark.parametrize("psi", [0.0, 0.3, 0.9, 1.0])
def test_the_kernel_is_the_average_over_the_clean_token(world, t, s, psi):
    oracle, sequences = world.oracle, world.oracle.sequences
    times = torch.full((27,), t, dtype=torch.float64)
    alpha_t, alpha_s = alpha_at(world.schedule, t), alpha_at(world.schedule, s)
    mean = oracle.denoiser(alpha_t)  # (27, 3, v), p(x_0 | x_t)
    forward, step = oracle.token_corruption(alpha_s), oracle.token_corruption(alpha_t / alpha_s)
    joint = forward[:, :, None] * step[None]  # (x0, xs, xt)
    posterior = torch.nan_to_num(joint / joint.sum(1, keepdim=True))[:, :, sequences]  # (x0, xs, n, l)
    ancestral = torch.einsum("nlo,osnl->nls", mean, posterior)
    fresh = torch.einsum("nlo,os->nls", mean, forward)
    kernel = PredictorCorrector(world.process, world.denoiser, psi)(sequences, times, torch.full_like(times, s))
    possible = (oracle.joint @ oracle.corruption(alpha_t)) > 0
    expected = psi * ancestral + (1 - psi) * fresh
    torch.testing.assert_close(kernel.exp()[possible], expected[possible], atol=1e-8, rtol=0)


def test_a_step_keeps_the_marginal_of_every_position(log_linear_world):
    world, oracle = log_linear_world, log_linear_world.oracle
    t, s = torch.full((27,), 0.6, dtype=torch.float64), torch.full((27,), 0.35, dtype=torch.float64)
    at_t = oracle.joint @ oracle.corruption(alpha_at(world.schedule, 0.6))
    at_s = oracle.joint @ oracle.corruption(alpha_at(world.schedule, 0.35))
    onehot = torch.nn.functional.one_hot(oracle.sequences, 3).double()
    for psi in (0.0, 0.5, 1.0):
        kernel = PredictorCorrector(world.process, world.denoiser, psi)(oracle.sequences, t, s).exp()
        got = torch.einsum("n,nlv->lv", at_t, torch.nan_to_num(kernel))
        torch.testing.assert_close(got, torch.einsum("n,nlv->lv", at_s, onehot), atol=1e-8, rtol=0)


def test_the_weight_one_is_ancestral_bit_for_bit(log_linear_world):
    world, xt = log_linear_world, log_linear_world.oracle.sequences
    t = torch.full((27,), 0.6, dtype=torch.float64)
    one = PredictorCorrector(world.process, world.denoiser, 1.0)(xt, t, t / 2)
    assert torch.equal(one, Ancestral(world.process, world.denoiser)(xt, t, t / 2))


def test_a_weight_out_of_range_is_refused():
    with pytest.raises(ValueError, match="Expected 0 <= `psi` <= 1, got 2"):
        PredictorCorrector(Uniform(LogLinear(), 4), lambda xt, t: xt, 2)
