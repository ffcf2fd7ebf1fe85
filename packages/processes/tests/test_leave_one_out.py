"""Prediction of a clean token given the rest of the noisy sequence, on the enumerated world."""

import pytest
import torch

from discrete_diffusion.processes import Absorbing, LeaveOneOutDenoiser, Uniform
from discrete_diffusion.schedules import LogLinear


@pytest.mark.parametrize("kind", ["uniform", "uniform-mean", "marginal", "marginal-mean"])
def test_every_parameterization_gives_the_exact_prediction(world):
    oracle, t = world.oracle, torch.full((27,), 0.4, dtype=torch.float64)
    exact = oracle.leave_one_out(world.schedule.alpha(t[0]).item())
    torch.testing.assert_close(LeaveOneOutDenoiser(world.process, world.denoiser)(oracle.sequences, t).exp(), exact)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="Expected uniform or marginal noise"):
        LeaveOneOutDenoiser(Absorbing(LogLinear(), 3, 2), lambda xt, t: xt)
    with pytest.raises(ValueError, match="Expected `temperature` > 0, got 0"):
        LeaveOneOutDenoiser(Uniform(LogLinear(), 3), lambda xt, t: xt, temperature=0)
