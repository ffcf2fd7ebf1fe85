"""Reverse rates, against the limit of Bayes' rule."""

import pytest
import torch

from discrete_diffusion.processes import ReverseRates


@pytest.mark.parametrize("time", [0.9, 0.5, 0.2])
def test_rates_are_the_derivative_of_the_bayes_kernel(world, time):
    """p(x_s = v | x_t) = (t - s) rate(v) + O((t - s)^2) for v other than x_t."""
    oracle, delta = world.oracle, 1e-5
    t = torch.full((27,), time, dtype=torch.float64)
    alpha_t, alpha_s = (world.schedule.alpha(t[0] - shift).item() for shift in (0.0, delta))
    possible = (oracle.joint @ oracle.corruption(alpha_t)) > 0
    rates = ReverseRates(world.process, world.denoiser)(oracle.sequences, t).exp()
    moves = ~torch.nn.functional.one_hot(oracle.sequences, 3).bool()
    expected = oracle.bayes_kernel(alpha_t, alpha_s) / delta
    got, expected = rates[possible][moves[possible]], expected[possible][moves[possible]]
    torch.testing.assert_close(got, expected, rtol=2e-3, atol=2e-3)
    assert (rates[~moves] == 0).all()
