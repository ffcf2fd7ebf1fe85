"""Masked diffusion whose uncertain tokens are masked again."""

import itertools
import math

import pytest
import torch

from discrete_diffusion.guidance import (
    CountEvaluations,
    SampleStreams,
    confidence_remasking,
    last,
    masked_ancestral,
)
from discrete_diffusion.guidance.samplers.confidence_remasking import remasking_rates

MASK, LENGTH = 3, 3
CHI_SQUARE = 54.05  # 99.9th percentile with 26 degrees of freedom
GRID = torch.linspace(1, 0, 7, dtype=torch.float64)


def survival(t):
    return 1 - t


def capped(eta):
    return lambda largest: largest.clamp(max=eta)


def masks(b):
    return torch.full((b, LENGTH), MASK)


def run(denoiser, x, eta, *, grid=GRID, **given):
    given = {"mask_id": MASK, "survival": survival, "rate": capped(eta)} | given
    return confidence_remasking(denoiser, x, grid, **given)


def uncertain(xt, t, *, y=None, at=None):
    """Position 0 is uncertain, position 1 is certain, and position 2 lies between."""
    table = torch.tensor([[0.34, 0.33, 0.33, 0], [1, 0, 0, 0], [0.6, 0.4, 0, 0]], dtype=torch.float64).log()
    log_probs = table.expand(len(xt), -1, -1)
    return log_probs if at is None else log_probs[at]


def test_the_mean_rate_is_sigma_and_ratios_are_exponentials_of_confidence():
    psi = torch.tensor([[0.2, 0.9, 0.5, 1.0], [0.1, 0.1, 0.1, 0.1], [0.3, 0.3, 0.3, 0.3]]).double()
    revealed = torch.tensor([[True, True, True, False], [True, True, False, False], [False] * 4])
    rates = remasking_rates(psi, revealed, 0.3)
    assert rates[0].sum().item() == pytest.approx(3 * 0.3)
    assert (rates[0, 0] / rates[0, 1]).item() == pytest.approx(math.exp(0.7))
    assert rates[1].tolist() == pytest.approx([0.3, 0.3, 0, 0])
    assert rates[2].tolist() == [0, 0, 0, 0]
    assert remasking_rates(psi, revealed, 1.0).max() == 1


def test_the_expected_number_of_masks_is_that_of_the_schedule(generator):
    states = list(run(uncertain, masks(20_000), 1 / math.e, generator=generator))
    for state in states[1:]:
        share = (state.x == MASK).double().mean().item()
        assert share == pytest.approx(state.t, abs=0.008), state.t


def test_uncertain_tokens_are_masked_more_often(generator):
    remasked = torch.zeros(LENGTH)
    for before, after in itertools.pairwise(run(uncertain, masks(20_000), 0.3, generator=generator)):
        remasked += ((before.x != MASK) & (after.x == MASK)).float().sum(0)
    assert remasked[0] > 1.3 * remasked[1]
    assert remasked[0] > remasked[2] > remasked[1]


def test_without_remasking_it_has_the_distribution_of_ancestral_sampling(world, generator):
    w = world(3)
    x = last(run(w.denoiser, masks(6000), 0.0, generator=generator))
    other = last(
        masked_ancestral(w.denoiser, masks(200_000), GRID, mask_id=MASK, survival=survival, generator=generator)
    )
    power = torch.tensor([9, 3, 1])
    expected = (other * power).sum(-1).bincount(minlength=27).double() * 6000 / 200_000
    counts = (x * power).sum(-1).bincount(minlength=27).double()
    assert ((counts - expected) ** 2 / expected).sum().item() < CHI_SQUARE


def test_remasking_costs_exactness_that_many_steps_do_not_buy_back(world, generator):
    w = world(3)
    clean = (w.oracle.sequences != MASK).all(1)
    joint = w.oracle.joint[clean] / w.oracle.joint[clean].sum()
    order = (w.oracle.sequences[clean] * torch.tensor([9, 3, 1])).sum(-1)

    def distance(eta):
        x = last(run(w.denoiser, masks(30_000), eta, grid=torch.linspace(1, 0, 65).double(), generator=generator))
        shares = (x * torch.tensor([9, 3, 1])).sum(-1).bincount(minlength=27).double()[order] / len(x)
        return (shares - joint).abs().sum().item() / 2

    plain, remasked = distance(0.0), distance(0.1)
    assert plain < 0.02
    assert plain < remasked < 0.1


@pytest.mark.parametrize("b", [1, 2, 7])
def test_clamped_tokens_stay_and_no_mask_is_left(b, generator):
    clamp = torch.full((b, LENGTH), -1)
    clamp[0, 1] = 2
    start = masks(b)
    states = list(run(uncertain, start, 0.9, clamp=clamp, generator=generator))
    assert all(state.x[0, 1] == 2 for state in states)
    assert (states[-1].x != MASK).all()
    assert states[-1].t == 0
    assert (start == MASK).all()


def test_a_sample_depends_on_its_index_alone_and_steps_without_reveals_cost_nothing():
    network = CountEvaluations(uncertain)
    grid = torch.linspace(1, 0, 101, dtype=torch.float64)
    whole = last(run(network, masks(5), 0.02, grid=grid, generator=SampleStreams(3, torch.arange(5))))
    assert network.rows < 5 * 25
    one = last(run(uncertain, masks(1), 0.02, grid=grid, generator=SampleStreams(3, torch.tensor([4]))))
    assert torch.equal(whole[4:], one)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="Expected strictly descending"):
        run(uncertain, masks(1), 0.1, grid=torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match="Expected the denoiser to return"):
        last(run(lambda xt, t, at: torch.zeros(1, 3, 4), masks(1), 0.1))
