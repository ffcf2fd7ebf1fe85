"""Scores of strings: the bound by enumeration, its standard error, and independence of the batch."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from discrete_diffusion.checkpoints import Checkpoint, Scorer, score

LENGTH = 3


@pytest.fixture(params=["Uniform", "Absorbing"])
def model(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Checkpoint:
    """A model of three tokens a string, so that all noisy strings can be enumerated."""
    config = {**checkpoint.config, "length": LENGTH}
    process = {**config["model"]["denoiser"]["process"], "_target_": f"discrete_diffusion.processes.{request.param}"}
    if request.param == "Absorbing":
        process["mask_id"] = checkpoint.tokenizer.mask_token_id
    parts = {
        name: {**part, "process": process} | ({"lift": {**part["lift"], "process": process}} if "lift" in part else {})
        for name, part in config["model"].items()
    }
    for parameter in checkpoint.network.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(1))
    # Far from 0, where the weights of the loss let rare draws decide.
    parts["objective"]["times"] = {"_target_": "discrete_diffusion.schedules.LowDiscrepancyTimes", "t_min": 0.1}
    return replace(checkpoint, config={**config, "model": parts})


def exact_bound(model: Checkpoint, x0: torch.Tensor, y: torch.Tensor) -> float:
    """Return the bound of one string, a sum over all noisy strings and an integral over time."""
    objective, denoiser = model.objective(), model.denoiser()
    process, t_min = objective.process, objective.times.t_min
    noisy = torch.tensor(list(itertools.product(range(len(model.tokenizer)), repeat=LENGTH)))
    count = len(noisy)
    clean, labels = x0.expand(count, -1), y.expand(count)

    def mean(loss, time: float, *further: torch.Tensor) -> torch.Tensor:
        t = torch.full((count,), time)
        alpha = process.schedule.alpha(t[:1].double()).item()
        prior = process.log_noise(torch.zeros(1)).exp().double().expand(len(model.tokenizer))
        kept = alpha * (noisy == x0).double() + (1 - alpha) * prior[noisy]
        losses = loss(denoiser(noisy, t, y=labels), clean, noisy, t, *further)
        return (kept.prod(-1)[:, None] * losses.double()).nansum()

    # By the logarithm of time, since the loss of masked diffusion has the weight 1 / t.
    nodes, weights = np.polynomial.legendre.leggauss(24)
    times = torch.from_numpy((nodes + 1) / 2 * -math.log(t_min) + math.log(t_min)).exp()
    weights = torch.from_numpy(weights / 2 * -math.log(t_min)) * times
    bound = sum(weight * mean(process.diffusion_loss, time.item()) for time, weight in zip(times, weights, strict=True))
    bound += mean(process.step_loss, t_min, torch.zeros(count))
    return (bound + process.prior_loss(denoiser, x0[None], y[None]).sum()).item()


@torch.no_grad()
@pytest.mark.parametrize("draws", [2, 5])
def test_estimates_have_the_mean_and_the_spread_that_they_report(model: Checkpoint, draws: int):
    # The rows of a file are independent of one another.
    rows = 1000
    scores = score(model, ["C"] * rows, draws=draws, y=torch.zeros(rows, dtype=torch.int64), batch_size=8192)
    x0 = Scorer(model, ["C"])._ids[0]
    exact, error = exact_bound(model, x0, torch.tensor(0)), (scores.nats.var() / rows).sqrt()
    assert (scores.nats.mean() - exact).abs() < 4 * error
    squares = scores.standard_error**2
    assert math.isclose(squares.mean(), scores.nats.var(), rel_tol=0.25)


def test_a_score_depends_on_the_seed_and_the_index_alone(model: Checkpoint):
    strings = ["C", "", "O", "C", "c", "1"]
    y = torch.tensor([0, 1, 0, 0, 1, 1])
    together = score(model, strings, y=y, draws=3, per_token=True)
    for batch_size in (1, 2, 7):
        other = score(model, strings, y=y, draws=3, per_token=True, batch_size=batch_size)
        for name in ("nats", "standard_error", "per_token"):
            torch.testing.assert_close(
                getattr(other, name), getattr(together, name), rtol=1e-4, atol=1e-3, equal_nan=True
            )
    less = score(model, ["O", "", "O"], y=y[:3], draws=3)
    torch.testing.assert_close(less.nats[2], together.nats[2], rtol=1e-4, atol=1e-3)
    assert (together.nats[0] - together.nats[3]).abs() > 1e-2
    assert (score(model, strings, y=y, draws=3, seed=1).nats - together.nats)[[0, 2]].abs().min() > 1e-2


def test_pairs_of_draws_share_the_times(model: Checkpoint):
    times = Scorer(model, ["C"], draws=5)._stratified(torch.arange(5)).times
    torch.testing.assert_close(times.low, torch.tensor([0, 0, 0.4, 0.4, 0.4]))
    torch.testing.assert_close(times.high, torch.tensor([0.4, 0.4, 1, 1, 1]))
    assert times.t_min == 0.1


def test_settings_out_of_range_are_refused(model: Checkpoint):
    for setting in ("draws", "batch_size"):
        with pytest.raises(ValueError, match=f"Expected `{setting}` >= 1, got 0"):
            score(model, ["C"], **{setting: 0})
    with pytest.raises(ValueError, match="Expected 0 <= `seed`"):
        score(model, ["C"], seed=-1)
