import functools
import itertools
import math

import pytest
import torch

from discrete_diffusion.guidance import CountEvaluations, autoregressive, last, sample, trajectory
from discrete_diffusion.guidance.searches.best_of import BestOf
from discrete_diffusion.guidance.searches.particles import Particles
from discrete_diffusion.guidance.searches.svdd import SVDD

GRID = torch.linspace(1, 0, 3, dtype=torch.float64)
LIMIT = 26.12  # the 0.1 % quantile of chi-square with 8 degrees of freedom


def masks(rows, length=2):
    return torch.full((rows, length), 3)


def rewards(oracle):
    """A reward in [-1, 1] for each sequence, -inf for 3 of the 9 clean ones."""
    table = 2 * torch.rand(len(oracle.sequences), generator=torch.Generator().manual_seed(5), dtype=torch.float64) - 1
    table[oracle.index(torch.tensor([[0, 1], [1, 1], [2, 0]]))] = -math.inf
    return table


def unused(*args, **kwargs):
    raise AssertionError("not called")


def preference(ours, theirs, gamma):
    """The probability that the first of two candidates is kept, in plain numbers."""
    if ours == theirs:
        return 0.5
    if gamma == math.inf:
        return float(ours > theirs)
    return math.exp(gamma * ours) / (math.exp(gamma * ours) + math.exp(gamma * theirs))


def chosen_of_two(distribution, table, gamma):
    """Distribution of the draw that is kept of two, by all pairs; `distribution` may be joint with rewards."""
    possible = distribution.nonzero()[:, 0].tolist()
    chosen = torch.zeros_like(distribution)
    for i, j in itertools.product(possible, repeat=2):
        chosen[i] += 2 * distribution[i] * distribution[j] * preference(table[i].item(), table[j].item(), gamma)
    return chosen


def check_distribution(oracle, x, distribution):
    counts = oracle.index(x).bincount(minlength=len(distribution)).double()
    likely = distribution > 1e-12
    assert counts[~likely].sum() == 0
    assert ((counts[likely] - len(x) * distribution[likely]) ** 2 / (len(x) * distribution[likely])).sum() < LIMIT


def tokens(oracle, table):
    return lambda x0: table[oracle.index(x0)]


def unguided(w, times=GRID):
    return w.oracle.distribution(lambda xt, t, s: w.kernel(xt, t, s), times.tolist())


def run_of(w, times=GRID):
    return functools.partial(_trajectory, w, times)


def _trajectory(w, times, xt, **keywords):
    return trajectory(w.kernel, xt, times, **keywords)


@pytest.mark.parametrize("gamma", [2.0, math.inf])
def test_svdd_with_two_candidates_has_its_distribution_step_by_step(world, generator, gamma):
    w = world(2)
    table = rewards(w.oracle)
    states = w.oracle.sequences
    first, second = (
        w.oracle.transition(
            w.kernel(states, torch.full((16,), t, dtype=torch.float64), torch.full((16,), s, dtype=torch.float64)).exp()
        )
        for t, s in itertools.pairwise(GRID.tolist())
    )
    guesses = w.oracle.transition(w.denoiser(states, GRID[:1].expand(16)).exp())

    # A candidate of the first step is a pair of latent and guess, judged by the reward of the guess.
    pairs = first[w.oracle.index(masks(1))[0], :, None] * guesses
    latents = chosen_of_two(pairs.flatten(), table.repeat(16), gamma).view(16, 16).sum(1)
    distribution = sum(p * chosen_of_two(second[i], table, gamma) for i, p in enumerate(latents) if p > 0)

    search = SVDD(tokens(w.oracle, table), gamma, candidates=2)
    x = last(search(unused, masks(4000), kernel=w.kernel, denoiser=w.denoiser, times=GRID, generator=generator))
    check_distribution(w.oracle, x, distribution)
    assert (distribution - unguided(w)).abs().sum() > 0.2


@pytest.mark.parametrize("gamma", [2.0, math.inf])
def test_best_of_two_has_its_distribution(world, generator, gamma):
    w = world(2)
    table = rewards(w.oracle)
    distribution = chosen_of_two(unguided(w), table, gamma)
    search = BestOf(tokens(w.oracle, table), 2, gamma)
    x = last(search(run_of(w), masks(search.rows(4000)), generator=generator))
    check_distribution(w.oracle, x, distribution)


def test_best_of_many_tends_to_the_tilted_distribution(world, generator):
    w = world(2)
    table = rewards(w.oracle)
    weights = unguided(w) * (2.0 * table).exp()
    search = BestOf(tokens(w.oracle, table), 64, 2.0)
    check_distribution(
        w.oracle, last(search(run_of(w), masks(search.rows(2000)), generator=generator)), weights / weights.sum()
    )


def test_best_of_searches_left_to_right_models(world, generator):
    w = world(2)
    table = rewards(w.oracle)
    y = torch.tensor([0, 1]).repeat(2000)
    search = BestOf(tokens(w.oracle, table), 2)
    x = last(search(functools.partial(autoregressive, w.denoiser), masks(8000), y=y, generator=generator))
    for label in (0, 1):
        distribution = chosen_of_two(w.oracle.conditional_joint(label), table, math.inf)
        check_distribution(w.oracle, x[label::2], distribution)


@pytest.mark.parametrize("search", [SVDD(unused, 0, 5), SVDD(unused, 3.0, 1), BestOf(unused, 5, 0), BestOf(unused, 1)])
def test_without_a_choice_it_is_the_ordinary_sampler(world, search):
    w = world(2)
    first, second = (torch.Generator().manual_seed(4) for _ in range(2))
    assert search.rows(40) == 40
    x = last(search(run_of(w), masks(40), kernel=w.kernel, denoiser=unused, times=GRID, generator=first))
    assert torch.equal(x, sample(w.kernel, masks(40), GRID, generator=second))


def searches(reward, gamma):
    return (Particles(reward, gamma, 4), SVDD(reward, gamma, 4), BestOf(reward, 4, gamma))


@pytest.mark.parametrize("which", range(3))
def test_every_search_yields_the_states_of_its_sequences(world, generator, which):
    w = world(3)
    search = searches(lambda x0: x0.sum(1), 1.5)[which]
    clamp = torch.tensor([[0, -1, -1], [-1, 2, -1]]).repeat(10, 1)
    start = masks(search.rows(20), 3)
    states = list(
        search(run_of(w), start, kernel=w.kernel, denoiser=w.denoiser, times=GRID, clamp=clamp, generator=generator)
    )
    assert [state.t for state in states] == GRID.tolist()
    for state in states:
        assert state.x.shape == (20, 3)
        assert torch.equal(state.x[clamp >= 0], clamp[clamp >= 0])
    assert (states[0].x[clamp < 0] == 3).all()
    assert (states[-1].x < 3).all()
    assert (start == 3).all()


@pytest.mark.parametrize("which", range(3))
def test_every_search_finds_more_reward(world, generator, which):
    w = world(3)
    search = searches(lambda x0: x0.sum(1), 1.5)[which]
    x = last(
        search(
            run_of(w), masks(search.rows(500), 3), kernel=w.kernel, denoiser=w.denoiser, times=GRID, generator=generator
        )
    )
    plain = sample(w.kernel, masks(500, 3), GRID, generator=generator)
    assert x.sum(1).double().mean() > plain.sum(1).double().mean() + 0.5


@pytest.mark.parametrize("which", range(3))
def test_every_search_survives_a_hopeless_reward(world, generator, which):
    w = world(2)
    search = searches(lambda x0: torch.full((len(x0),), -math.inf), 1.5)[which]
    x = last(
        search(
            run_of(w), masks(search.rows(4000)), kernel=w.kernel, denoiser=w.denoiser, times=GRID, generator=generator
        )
    )
    check_distribution(w.oracle, x, unguided(w))


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (lambda x0: torch.where(x0[:, 0] == 1, math.nan, 0.0), r"finite reward or -inf, got nan for \[1, \d\]: check"),
        (lambda x0: torch.full((len(x0),), math.inf), "finite reward or -inf, got inf"),
        (lambda x0: x0.double(), r"the reward to return \(\d+,\), got \(\d+, 2\)"),
    ],
)
def test_a_reward_that_is_none_is_named(world, generator, which, reward, message):
    w = world(2)
    search = searches(reward, 1.0)[which]
    states = search(
        run_of(w), masks(search.rows(40)), kernel=w.kernel, denoiser=w.denoiser, times=GRID, generator=generator
    )
    with pytest.raises(ValueError, match=message):
        list(states)


def test_svdd_costs_the_kernel_once_and_the_denoiser_for_each_candidate(world, generator):
    w = world(2)
    kernel, denoiser = CountEvaluations(w.kernel), CountEvaluations(w.denoiser)
    search = SVDD(lambda x0: x0.sum(1), 1.0, 6)
    list(search(unused, masks(5), kernel=kernel, denoiser=denoiser, times=GRID, generator=generator))
    assert (kernel.calls, kernel.rows) == (2, 2 * 5)
    assert (denoiser.calls, denoiser.rows) == (1, 5 * 6)


@pytest.mark.parametrize("search", searches(unused, 1.0)[:2])
def test_a_left_to_right_model_has_no_kernel(world, search):
    w = world(2)
    for missing in ("kernel", "denoiser", "times"):
        given = {"kernel": w.kernel, "denoiser": w.denoiser, "times": GRID, missing: None}
        with pytest.raises(ValueError, match="got None: search a left-to-right model with BestOf"):
            search(unused, masks(4), **given)


@pytest.mark.parametrize("search", searches(unused, 1.0)[:2])
def test_the_end_must_be_clean(world, search):
    w = world(2)
    with pytest.raises(ValueError, match=r"`times` to end at 0, got 0\.5"):
        search(unused, masks(4), kernel=w.kernel, denoiser=w.denoiser, times=GRID[:2])


@pytest.mark.parametrize("search", [Particles(unused, 1.0, 4), BestOf(unused, 4)])
def test_rows_must_match(world, search):
    w = world(2)
    keywords = {"kernel": w.kernel, "denoiser": w.denoiser, "times": GRID}
    with pytest.raises(ValueError, match=r"4 rows for each search, got 7: draw `rows\(b\)` of them"):
        search(run_of(w), masks(7), **keywords)
    with pytest.raises(ValueError, match="`y` with one row for each of the 2 searches, got 8"):
        search(run_of(w), masks(8), y=torch.zeros(8, dtype=torch.int64), **keywords)
    with pytest.raises(ValueError, match="`clamp` with one row for each of the 2 searches, got 8"):
        search(run_of(w), masks(8), clamp=masks(8), **keywords)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SVDD(unused, -1.0, 2), r"Expected `gamma` >= 0, got -1\.0\."),
        (lambda: SVDD(unused, math.nan, 2), "Expected `gamma` >= 0, got nan"),
        (lambda: SVDD(unused, 1.0, 0), r"Expected `candidates` >= 1, got 0\."),
        (lambda: BestOf(unused, 2, -1.0), r"Expected `gamma` >= 0, got -1\.0\."),
        (lambda: BestOf(unused, 0), r"Expected `n` >= 1, got 0\."),
    ],
)
def test_construction_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_run_without_states_is_refused():
    with pytest.raises(ValueError, match="Expected at least one state, got none"):
        list(BestOf(unused, 2)(lambda xt, **keywords: iter(()), masks(4)))


def test_best_of_tells_nothing_before_it_must(world, generator):
    """One state behind the sampler, no more, and no gradients inside."""
    w = world(2)
    base = CountEvaluations(w.kernel)
    states = BestOf(lambda x0: x0.sum(1), 2)(
        lambda xt, **keywords: trajectory(base, xt, GRID, **keywords), masks(8), generator=generator
    )
    next(states)
    assert base.calls == 1
    next(states)
    assert base.calls == 2
