"""Gibbs corrections."""

import pytest
import torch

from discrete_diffusion.guidance import CountEvaluations, corrected, gibbs_step, last, sample

GRID = torch.linspace(1, 0, 5, dtype=torch.float64)


@pytest.fixture
def conditional():
    """A random distribution over 3 x 3 tokens and the conditionals of each position given the other."""
    joint = torch.rand(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    joint = joint / joint.sum()

    def model(x, t, *, y=None, at=None):
        first = joint[:, x[:, 1]].T
        second = joint[x[:, 0]]
        log_probs = torch.stack([first, second], 1).log()
        log_probs = log_probs.log_softmax(-1)
        return log_probs if at is None else log_probs[at]

    return joint, model


def chi_square(x, joint):
    counts = (3 * x[:, 0] + x[:, 1]).bincount(minlength=9).double()
    expected = len(x) * joint.flatten()
    return ((counts - expected) ** 2 / expected).sum().item()


def test_resampling_one_position_leaves_the_distribution_invariant(conditional, generator):
    joint, model = conditional
    index = torch.multinomial(joint.flatten(), 20_000, replacement=True, generator=generator)
    x = torch.stack([index // 3, index % 3], 1)
    moved = gibbs_step(model, x, torch.full((20_000,), 0.5), generator=generator)
    assert ((moved != x).sum(1) <= 1).all()
    assert (moved != x).any()
    assert chi_square(moved, joint) < 26.12  # 99.9th percentile with 8 degrees of freedom


def test_corrections_converge_to_the_distribution_from_anywhere(conditional, generator):
    joint, model = conditional
    x = torch.zeros(20_000, 2, dtype=torch.int64)
    for _ in range(40):
        x = gibbs_step(model, x, torch.full((20_000,), 0.5), generator=generator)
    assert chi_square(x, joint) < 26.12


def test_clamped_positions_are_never_resampled(conditional, generator):
    _, model = conditional
    clamp = torch.tensor([[2, -1], [-1, -1], [1, 1]]).repeat(30, 1)
    x = torch.where(clamp < 0, 0, clamp)
    for at_once in (1, 2, 5):
        moved = gibbs_step(model, x, torch.ones(90), at_once=at_once, clamp=clamp, generator=generator)
        assert torch.equal(moved[clamp >= 0], clamp[clamp >= 0])
        assert (moved != x).any()


def test_each_step_is_followed_by_its_corrections(conditional, generator):
    _, model = conditional

    def kernel(xt, t, s, *, y=None):
        return torch.zeros(*xt.shape, 3, dtype=torch.float64)

    steps, corrections = CountEvaluations(kernel), CountEvaluations(model)
    start = torch.zeros(7, 2, dtype=torch.int64)
    states = list(corrected(steps, corrections, start, GRID, corrections=3, generator=generator))
    assert [state.t for state in states] == GRID.tolist()
    assert (steps.calls, corrections.calls) == (4, 9)  # the step to the data is not corrected
    assert (start == 0).all()


def test_without_corrections_it_is_ancestral_sampling(conditional):
    _, model = conditional

    def kernel(xt, t, s, *, y=None):
        return torch.nn.functional.one_hot(xt, 3).double().mul(2).log_softmax(-1)

    draws = [torch.Generator().manual_seed(3) for _ in range(2)]
    start = torch.zeros(20, 2, dtype=torch.int64)
    plain = sample(kernel, start, GRID, generator=draws[0])
    assert torch.equal(last(corrected(kernel, model, start, GRID, corrections=0, generator=draws[1])), plain)


@pytest.mark.parametrize(("name", "value"), [("corrections", -1), ("at_once", 0)])
def test_a_number_out_of_range_is_refused(conditional, name, value):
    _, model = conditional
    arguments = {"corrections": 1, "at_once": 1, name: value}
    with pytest.raises(ValueError, match=f"Expected `{name}` >= "):
        corrected(model, model, torch.zeros(1, 2).long(), GRID, **arguments)
