"""Tiny worlds: each process with the exact Oracle of a random joint law."""

from types import SimpleNamespace

import pytest
import torch

from discrete_diffusion.processes import Absorbing, Marginal, Mean, Uniform
from discrete_diffusion.schedules import Cosine, CosineSquared, Geometric, Linear, LogLinear, Polynomial

SCHEDULES = [LogLinear(), Cosine(), CosineSquared(), Linear(), Geometric(), Polynomial()]
MARGINALS = [0.5, 0.3, 0.2]


def make_world(oracle, kind, schedule):
    """A process over 3 tokens and 3 positions, with the exact denoiser that its network should be."""
    if kind == "absorbing":
        process, noise, mask_id = Absorbing(schedule, 3, mask_id=2), torch.tensor([0.0, 0.0, 1.0]), 2
    elif kind.startswith("uniform"):
        process = Uniform(schedule, 3, **({"parameterization": Mean()} if kind.endswith("mean") else {}))
        noise, mask_id = torch.ones(3), None
    else:
        process = Marginal(schedule, MARGINALS, **({"parameterization": Mean()} if kind.endswith("mean") else {}))
        noise, mask_id = torch.tensor(MARGINALS, dtype=torch.float64), None
    world = oracle.random(3, 3, noise, mask_id=mask_id)
    exact = world.denoiser if kind == "absorbing" or kind.endswith("mean") else world.leave_one_out

    def denoiser(xt, t, y=None):
        """The exact denoiser of one common time."""
        alpha = schedule.alpha(t[0].double()).item()
        return exact(alpha, y)[world.index(xt)].log()

    return SimpleNamespace(process=process, oracle=world, denoiser=denoiser, schedule=schedule)


@pytest.fixture(params=["absorbing", "uniform", "uniform-mean", "marginal", "marginal-mean"])
def kind(request):
    return request.param


@pytest.fixture(params=SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def schedule(request):
    return request.param


@pytest.fixture
def world(oracle, kind, schedule):
    return make_world(oracle, kind, schedule)


@pytest.fixture
def log_linear_world(oracle, kind):
    return make_world(oracle, kind, LogLinear())
