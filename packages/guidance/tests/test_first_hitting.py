"""First-hitting sampler, held to the limit of ancestral sampling."""

import itertools
import math

import pytest
import torch

from discrete_diffusion.guidance import CountEvaluations, Temperature, first_hitting, last

MASK = 3
LINEAR = {"survival": lambda t: 1 - t, "inverse": lambda alpha: 1 - alpha}
SQUARED = {"survival": lambda t: 1 - t**2, "inverse": lambda alpha: (1 - alpha).sqrt()}


def masks(b, length):
    return torch.full((b, length), MASK)


def dated(xt, t, *, y=None, at=None):
    """Conditionals of two positions that depend on time, on the other token and on the position."""
    other = xt.flip(1)
    score = torch.stack([3 * t[:, None] - other, 1.5 - 4 * t[:, None] * (other + 1), other * t[:, None] - 1], -1)
    score[:, 1] = score[:, 1].flip(-1)
    log_probs = torch.cat([score.log_softmax(-1), torch.full_like(score[..., :1], -math.inf)], -1)
    return log_probs if at is None else log_probs[at]


def statistic(x, probabilities):
    counts = (x * MASK ** torch.arange(x.shape[1]).flip(0)).sum(-1).bincount(minlength=len(probabilities)).double()
    expected = len(x) * probabilities
    return ((counts - expected) ** 2 / expected).sum().item()


@pytest.mark.parametrize("schedule", [LINEAR, SQUARED], ids=["linear", "squared"])
def test_samples_have_the_limit_distribution_of_ancestral_sampling(schedule, generator):
    """Two positions: the first is revealed at a time with 1 - alpha = sqrt(u), the second at 1 - alpha = sqrt(u) v."""
    n = 400
    grid = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    probabilities = torch.zeros(MASK, MASK, dtype=torch.float64)
    lost_first = grid.sqrt()
    first = dated(masks(n, 2), schedule["inverse"](1 - lost_first)).exp()[..., :MASK]
    for position in (0, 1):
        for token in range(MASK):
            x = masks(n * n, 2)
            x[:, position] = token
            lost = (lost_first[:, None] * grid[None]).flatten()
            second = dated(x, schedule["inverse"](1 - lost))[:, 1 - position, :MASK].exp().view(n, n, MASK).mean(1)
            pair = (first[:, position, token, None] * second).mean(0) / 2
            if position == 0:
                probabilities[token] += pair
            else:
                probabilities[:, token] += pair
    assert probabilities.sum().item() == pytest.approx(1)
    x = last(first_hitting(dated, masks(8000, 2), mask_id=MASK, **schedule, generator=generator))
    assert statistic(x, probabilities.flatten()) < 26.12  # 99.9th percentile with 8 degrees of freedom


def test_with_exact_conditionals_samples_have_the_joint_distribution(world, generator):
    w = world(3)
    x = last(first_hitting(w.denoiser, masks(6000, 3), mask_id=MASK, **LINEAR, generator=generator))
    clean = (w.oracle.sequences != MASK).all(1)
    assert statistic(x, w.oracle.joint[clean]) < 54.05  # 26 degrees of freedom


def test_a_sample_costs_one_evaluation_for_each_mask(world, generator):
    network = CountEvaluations(world(3).denoiser)
    states = list(first_hitting(network, masks(5, 3), mask_id=MASK, **LINEAR, generator=generator))
    assert (network.calls, network.rows) == (3, 15)
    assert [int((state.x == MASK).sum()) for state in states] == [15, 10, 5, 0]
    assert all(after.t < before.t for before, after in itertools.pairwise(states))
    network.reset()
    clamp = torch.tensor([[0, 1, -1], [0, -1, -1]])
    x = last(first_hitting(network, masks(2, 3), mask_id=MASK, **LINEAR, clamp=clamp, generator=generator))
    assert network.rows == 3
    assert torch.equal(x[clamp >= 0], clamp[clamp >= 0])


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("b", [1, 2, 7])
def test_several_positions_share_an_evaluation(world, k, b, generator):
    network, start = CountEvaluations(world(3).denoiser), masks(b, 3)
    states = list(first_hitting(network, start, mask_id=MASK, **LINEAR, k=k, generator=generator))
    assert network.calls == math.ceil(3 / k)
    assert (states[-1].x != MASK).all()
    assert (start == MASK).all()
    assert states[-1].t == 0


def test_event_times_have_the_distribution_of_the_first_of_n_masks(generator):
    """1 - alpha at the first of n events is the maximum of n uniforms."""
    seen = []

    def denoiser(xt, t, at=None):
        seen.append(t)
        return torch.tensor([0.0, -math.inf, -math.inf, -math.inf]).expand(int(at.sum()), 4)

    last(first_hitting(denoiser, masks(4000, 3), mask_id=MASK, **SQUARED, generator=generator))
    for event, times in enumerate(seen):
        lost = times.double() ** 2
        # The event of rank k from the top of 3 uniforms has mean (3 - k) / 4.
        assert lost.mean().item() == pytest.approx((3 - event) / 4, abs=0.02)


def test_guidance_of_the_denoiser_applies(world, generator):
    sharp = Temperature(world(3).denoiser, 0.02)
    x = last(first_hitting(sharp, masks(100, 3), mask_id=MASK, **LINEAR, generator=generator))
    assert len(x.unique(dim=0)) < 8


def test_wrong_arguments_are_refused(world):
    with pytest.raises(ValueError, match="Expected `k` >= 1, got 0"):
        first_hitting(world(2).denoiser, masks(1, 2), mask_id=MASK, **LINEAR, k=0)
    with pytest.raises(ValueError, match="Expected the denoiser to return"):
        last(first_hitting(lambda xt, t, at: torch.zeros(1, 2, 4), masks(1, 2), mask_id=MASK, **LINEAR))
