"""Ancestral sampling of masks that chooses the positions first."""

import itertools

import pytest
import torch

from discrete_diffusion.guidance import ClassifierFree, CountEvaluations, last, masked_ancestral

MASK, NULL = 3, 2
GRID = torch.linspace(1, 0, 5, dtype=torch.float64)


def linear(t):
    return 1 - t


def masks(b, length):
    return torch.full((b, length), MASK)


def test_samples_have_the_distribution_of_ancestral_sampling(world, generator):
    w = world(3)
    guided = ClassifierFree(w.denoiser, 2.0, NULL)
    kernel = w.lift(guided)
    distribution = w.oracle.distribution(lambda xt, t, s: kernel(xt, t, s, y=torch.ones(len(xt)).long()), GRID.tolist())
    y = torch.ones(6000, dtype=torch.int64)
    x = last(masked_ancestral(guided, masks(6000, 3), GRID, mask_id=MASK, survival=linear, y=y, generator=generator))
    counts = w.oracle.index(x).bincount(minlength=len(distribution)).double()
    assert counts[distribution == 0].sum() == 0
    expected = 6000 * distribution[distribution > 0]
    assert (
        (counts[distribution > 0] - expected) ** 2 / expected
    ).sum() < 54.05  # 99.9th percentile, 26 degrees of freedom


@pytest.mark.parametrize("steps", [1, 4, 64])
def test_a_row_is_evaluated_where_a_position_is_revealed(world, steps, generator):
    network, times = CountEvaluations(world(2).denoiser), torch.linspace(1, 0, steps + 1)
    list(masked_ancestral(network, masks(2000, 2), times, mask_id=MASK, survival=linear, generator=generator))
    expected = steps * (1 - (1 - 1 / steps) ** 2)
    assert network.rows / 2000 == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("b", [1, 2, 7])
def test_revealed_and_clamped_tokens_stay_and_no_mask_is_left(world, b, generator):
    clamp = torch.full((b, 3), -1)
    clamp[0, 2] = 1
    start = masks(b, 3)
    arguments = {"mask_id": MASK, "survival": linear, "clamp": clamp, "generator": generator}
    states = list(masked_ancestral(world(3).denoiser, start, GRID, **arguments))
    assert [state.t for state in states] == GRID.tolist()
    for before, after in itertools.pairwise(states):
        kept = before.x != MASK
        assert torch.equal(after.x[kept], before.x[kept])
    assert all(state.x[0, 2] == 1 for state in states)
    assert (states[-1].x != MASK).all()
    assert (start == MASK).all()


def test_survival_above_zero_at_time_one_is_no_step(world, generator):
    """alpha(1) > 0 changes the shares and not the end: every mask is revealed by the last step."""
    arguments = {"mask_id": MASK, "survival": lambda t: 1 - 0.9 * t, "generator": generator}
    x = last(masked_ancestral(world(3).denoiser, masks(50, 3), GRID, **arguments))
    assert (x != MASK).all()


def test_wrong_times_are_refused(world):
    with pytest.raises(ValueError, match="strictly descending"):
        masked_ancestral(world(2).denoiser, masks(1, 2), torch.tensor([0.0, 1.0]), mask_id=MASK, survival=linear)
    wrong = masked_ancestral(
        lambda xt, t, at: torch.zeros(1, 2, 4), masks(1, 2), torch.tensor([1.0, 0.0]), mask_id=MASK, survival=linear
    )
    with pytest.raises(ValueError, match="Expected the denoiser to return"):
        last(wrong)
