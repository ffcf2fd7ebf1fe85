"""Path planning, held to the enumeration of every path."""

import itertools

import pytest
import torch

from discrete_diffusion.guidance import CountEvaluations, SampleStreams, last, path_planning
from discrete_diffusion.guidance.samplers.path_planning import kept_positions

MASK, LENGTH = 2, 3
CHI_SQUARE = 24.32  # 99.9th percentile with 7 degrees of freedom
GRID = torch.linspace(1, 0, 5, dtype=torch.float64)


def survival(t):
    return 1 - t


class Table:
    """A model of random conditionals; at every position, visible or not, it rates each token."""

    def __init__(self, seed):
        generator = torch.Generator().manual_seed(seed)
        logits = 1.5 * torch.randn((MASK + 1,) * LENGTH + (LENGTH, MASK + 1), generator=generator).double()
        logits[..., MASK] = -torch.inf
        self.table = logits.log_softmax(-1)

    def __call__(self, xt, t, *, y=None, at=None):
        log_probs = self.table[tuple(xt.T)]
        return log_probs if at is None else log_probs[at]


DENOISER, PLANNER = Table(0), Table(1)


def run(x, *, eta=1.0, planner=PLANNER, grid=GRID, denoiser=DENOISER, **given):
    return path_planning(denoiser, planner, x, grid, mask_id=MASK, survival=survival, eta=eta, **given)


def masks(b):
    return torch.full((b, LENGTH), MASK)


def exact(eta):
    """The probability of every sequence, by following every draw of every step."""
    distribution = {(MASK,) * LENGTH: 1.0}
    for kept in (0, 1, 2, 3):  # floor(3 alpha) for alpha = 0.1, 0.4, 0.7, 1
        after = {}
        for x, weight in distribution.items():
            masked = [i for i in range(LENGTH) if x[i] == MASK]
            for tokens in itertools.product(range(MASK), repeat=len(masked)):
                z, p, score = list(x), weight, {}
                for i, token in zip(masked, tokens, strict=True):
                    z[i] = token
                    score[i] = DENOISER.table[x][i, token].item()
                    p *= DENOISER.table[x][i, token].exp().item()
                for i in set(range(LENGTH)) - set(masked):
                    score[i] = eta * PLANNER.table[x][i, x[i]].item()
                best = sorted(range(LENGTH), key=lambda i: -score[i])[:kept]
                key = tuple(z[i] if i in best else MASK for i in range(LENGTH))
                after[key] = after.get(key, 0.0) + p
        distribution = after
    probabilities = torch.zeros((MASK,) * LENGTH, dtype=torch.float64)
    for x, p in distribution.items():
        probabilities[x] = p
    return probabilities.flatten()


@pytest.mark.parametrize("eta", [0.0, 1.0, 3.0])
def test_samples_have_the_enumerated_distribution(eta, generator):
    x = last(run(masks(6000), eta=eta, grid=torch.tensor([1.0, 0.9, 0.6, 0.3, 0.0]).double(), generator=generator))
    counts = (x * torch.tensor([4, 2, 1])).sum(-1).bincount(minlength=8).double()
    expected = 6000 * exact(eta)
    assert expected.sum().item() == pytest.approx(6000)
    assert ((counts - expected) ** 2 / expected).sum().item() < CHI_SQUARE


@pytest.mark.parametrize("steps", [1, 2, 5, 12])
@pytest.mark.parametrize("eta", [0.0, 1.0, 10.0])
def test_the_number_of_masks_follows_its_formula(steps, eta, generator):
    grid = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    for state in itertools.islice(run(masks(50), eta=eta, grid=grid, generator=generator), 1, None):
        kept = int(LENGTH * (1 - state.t) + 1e-5)
        assert ((state.x == MASK).sum(1) == LENGTH - kept).all()


def test_times_in_single_precision_do_not_lower_the_number():
    free = torch.tensor([21, 1024, 0])
    for i in range(8):
        alpha = float(1 - torch.tensor(1 - i / 7))
        assert kept_positions(free, alpha).tolist() == [3 * i, 1024 * i // 7, 0]


def test_tokens_are_masked_again_unless_eta_is_zero(generator):
    def remasked(eta):
        states = list(run(masks(200), eta=eta, grid=torch.linspace(1, 0, 13).double(), generator=generator))
        pairs = itertools.pairwise(states)
        return sum(int(((a.x != MASK) & (b.x == MASK)).sum()) for a, b in pairs)

    assert remasked(0.0) == 0
    assert 0 < remasked(1.0) < remasked(5.0)

    def carried(xt, t, *, y=None, at=None):
        return torch.zeros(int(at.sum()), MASK + 1).double()

    # A planner that carries tokens over rates each of them one, and nothing is ever masked again.
    states = list(run(masks(200), planner=carried, grid=torch.linspace(1, 0, 13).double(), generator=generator))
    assert all((b.x == a.x)[a.x != MASK].all() for a, b in itertools.pairwise(states))


@pytest.mark.parametrize("b", [1, 2, 7])
def test_clamped_tokens_stay_and_no_mask_is_left(b, generator):
    clamp = torch.full((b, LENGTH), -1)
    clamp[0] = torch.tensor([1, -1, 0])
    start = masks(b)
    states = list(run(start, eta=5.0, clamp=clamp, generator=generator))
    assert all(state.x[0, [0, 2]].tolist() == [1, 0] for state in states)
    assert (states[-1].x != MASK).all()
    assert states[-1].t == 0
    assert (start == MASK).all()


def test_a_sample_depends_on_its_index_alone_and_every_evaluation_is_needed():
    denoiser, planner = CountEvaluations(DENOISER), CountEvaluations(PLANNER)
    streams = SampleStreams(3, torch.arange(5))
    whole = last(run(masks(5), denoiser=denoiser, planner=planner, generator=streams))
    # After the first step, floor(3 / 4) = 0 tokens are revealed, and there is nothing to plan.
    assert (denoiser.rows, planner.rows) == (20, 10)
    one = last(run(masks(1), generator=SampleStreams(3, torch.tensor([4]))))
    assert torch.equal(whole[4:], one)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="Expected `eta` >= 0, got -1"):
        run(masks(1), eta=-1)
    with pytest.raises(ValueError, match="Expected the planner to return"):
        last(run(masks(1), planner=lambda xt, t, at: torch.zeros(1, 3, 4)))
