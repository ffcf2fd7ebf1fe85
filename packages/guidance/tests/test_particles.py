import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from discrete_diffusion.guidance import CountEvaluations, State, last, sample
from discrete_diffusion.guidance.searches.particles import Particles, ParticleState, effective_sample_size, systematic

GRID = torch.linspace(1, 0, 5, dtype=torch.float64)
GAMMA = 2.0
TENTH_OF_A_PERCENT = {2: 13.82, 5: 20.52, 8: 26.12}  # quantiles of chi-square


@dataclass(frozen=True)
class UniformWorld:
    """The exact uniform-noise model of an Oracle, alpha(t) = 1 - t; all rows have one time."""

    oracle: object

    def denoiser(self, xt, t):
        return self.oracle.denoiser(1 - t[0].item())[self.oracle.index(xt)].log()

    def kernel(self, xt, t, s):
        return self.oracle.bayes_kernel(1 - t[0].item(), 1 - s[0].item())[self.oracle.index(xt)].log()


@pytest.fixture(params=["absorbing", "uniform"])
def model(request, world, oracle):
    return world(2) if request.param == "absorbing" else UniformWorld(oracle.random(3, 2, torch.ones(3)))


def prior(model, rows, generator):
    draws = torch.multinomial(model.oracle.noise, rows * model.oracle.length, replacement=True, generator=generator)
    return draws.view(rows, -1)


def masks(rows, length=2):
    return torch.full((rows, length), 3)


def rewards(oracle, impossible):
    """A reward in [-1, 1] for each sequence, -inf for 3 of the 9 clean ones if `impossible`."""
    table = 2 * torch.rand(len(oracle.sequences), generator=torch.Generator().manual_seed(5), dtype=torch.float64) - 1
    if impossible:
        table[oracle.index(torch.tensor([[0, 1], [1, 1], [2, 0]]))] = -math.inf
    return table


def tilt(distribution, table, gamma):
    weights = distribution * (gamma * table).exp()
    return weights / weights.sum()


def run(model, search, b, generator, **keywords):
    xt = prior(model, search.rows(b), generator)
    return search(
        _unused, xt, kernel=model.kernel, denoiser=model.denoiser, times=GRID, generator=generator, **keywords
    )


def _unused(*args, **kwargs):
    raise AssertionError("the ordinary sampler is not called")


def chi_square(oracle, x, distribution):
    counts = oracle.index(x).bincount(minlength=len(distribution)).double()
    assert counts[distribution == 0].sum() == 0
    expected = len(x) * distribution[distribution > 0]
    return ((counts[distribution > 0] - expected) ** 2 / expected).sum().item(), TENTH_OF_A_PERCENT[len(expected) - 1]


def distance(p, q):
    return (p - q).abs().sum().item() / 2


def unguided(model):
    return model.oracle.distribution(lambda xt, t, s: model.kernel(xt, t, s), GRID.tolist())


@pytest.mark.parametrize(
    ("threshold", "impossible", "draws"), [(0.9, False, 1), (0.9, True, 1), (1, False, 4), (1, True, 1)]
)
def test_many_particles_have_the_tilted_distribution(model, generator, threshold, impossible, draws):
    oracle, table = model.oracle, rewards(model.oracle, impossible)
    target = tilt(unguided(model), table, GAMMA)
    search = Particles(lambda x0: table[oracle.index(x0)], GAMMA, 96, threshold, draws=draws)
    states = list(run(model, search, 2000, generator))
    assert torch.stack([state.resampled for state in states]).any()
    statistic, limit = chi_square(oracle, states[-1].x, target)
    assert statistic < limit
    assert distance(unguided(model), target) > 0.3


def test_the_distribution_tends_to_the_tilted_distribution(model, generator):
    oracle, table = model.oracle, rewards(model.oracle, True)
    target = tilt(unguided(model), table, GAMMA)
    errors = []
    for particles in (1, 4, 64):
        x = last(run(model, Particles(lambda x0: table[oracle.index(x0)], GAMMA, particles), 3000, generator))
        errors.append(distance(oracle.index(x).bincount(minlength=len(target)) / len(x), target))
    assert errors[0] > 2 * errors[1]
    assert errors[1] > 2 * errors[2]
    assert errors[2] < 0.04


@pytest.mark.parametrize("search", [Particles(_unused, 0, 8, 1), Particles(_unused, 3.0, 1, 1)])
def test_without_a_choice_it_is_the_ordinary_sampler(model, search):
    assert search.rows(5) == 5
    first, second = (torch.Generator().manual_seed(4) for _ in range(2))
    states = list(run(model, search, 3000, first))
    assert torch.equal(states[-1].x, sample(model.kernel, prior(model, 3000, second), GRID, generator=second))
    assert not torch.stack([state.resampled for state in states]).any()
    assert torch.stack([state.ess for state in states]).eq(1).all()
    distribution = unguided(model)
    statistic, limit = chi_square(model.oracle, states[-1].x, distribution)
    assert statistic < limit


def test_labels_and_given_tokens_are_those_of_each_search(world, generator):
    w = world(2)
    table = rewards(w.oracle, False)
    y = torch.tensor([0, 1]).repeat(1000)
    clamp = torch.tensor([[1, -1], [-1, -1]]).repeat(1000, 1)
    search = Particles(lambda x0: table[w.oracle.index(x0)], GAMMA, 64, 1)
    states = list(run(w, search, 2000, generator, y=y, clamp=clamp))
    for state in states:
        assert torch.equal(state.x[clamp >= 0], clamp[clamp >= 0])
    given = w.oracle.conditional_joint(0) * (w.oracle.sequences[:, 0] == 1)
    free = w.oracle.distribution(
        lambda xt, t, s: w.kernel(xt, t, s, y=torch.ones(len(xt), dtype=torch.int64)), GRID.tolist()
    )
    for distribution, x in ((given, states[-1].x[::2]), (free, states[-1].x[1::2])):
        statistic, limit = chi_square(w.oracle, x, tilt(distribution, table, GAMMA))
        assert statistic < limit


def test_estimates_see_the_given_tokens(world, generator):
    """The denoiser is free to predict another token where a given one stands; the reward must not see it."""
    w = world(2)
    seen = []

    def reward(x0):
        seen.append(x0)
        return torch.zeros(len(x0))

    def ignorant(xt, t):
        return torch.full((*xt.shape, 4), -math.log(3)).masked_fill(torch.arange(4) == 3, -math.inf)

    clamp = torch.tensor([[1, -1]] * 3)
    list(
        Particles(reward, 1.0, 4, draws=3)(
            _unused, masks(12), kernel=w.kernel, denoiser=ignorant, times=GRID, clamp=clamp, generator=generator
        )
    )
    assert len(seen) == 3 * 3 + 1
    assert all((x0[:, 0] == 1).all() and (x0 < 3).all() for x0 in seen)


def test_states_tell_the_weights(model, generator):
    oracle, table = model.oracle, rewards(model.oracle, True)

    def states(threshold):
        search = Particles(lambda x0: table[oracle.index(x0)], GAMMA, 8, threshold)
        return list(run(model, search, 300, generator))

    for threshold in (0, 0.5, 1):
        found = states(threshold)
        assert [state.t for state in found] == GRID.tolist()
        for state in found:
            assert state.x.shape == (300, 2)
            assert isinstance(state, State)
            assert isinstance(state, ParticleState)
            assert ((state.ess > 1 - 1e-9) & (state.ess < 8 + 1e-9)).all()
        assert (found[0].ess == 8).all()
        assert not found[0].resampled.any()
        assert not found[-1].resampled.any()
        for state in found[1:-1]:
            assert torch.equal(state.resampled, state.ess < threshold * 8 - 1e-6)
    assert torch.stack([state.ess for state in states(0)]).amin() < 4


def test_one_step_is_weighed_by_the_reward(world, generator):
    """Weights and effective sample size by hand, where there is no estimate in between."""
    w = world(1)
    seen = []

    def reward(x0):
        seen.append(x0)
        return x0[:, 0].double()

    search = Particles(reward, 0.7, 5)
    times = torch.tensor([1.0, 0.0], dtype=torch.float64)
    (_, end) = search(_unused, masks(15, 1), kernel=w.kernel, denoiser=_unused, times=times, generator=generator)
    weights = (0.7 * seen[0].double()).exp().view(3, 5)
    torch.testing.assert_close(end.ess, weights.sum(1) ** 2 / (weights**2).sum(1))


def test_a_hopeless_reward_leaves_the_unguided_distribution(model, generator):
    search = Particles(lambda x0: torch.full((len(x0),), -math.inf), 2.0, 4, 1)
    states = list(run(model, search, 2000, generator))
    statistic, limit = chi_square(model.oracle, states[-1].x, unguided(model))
    assert statistic < limit
    assert not torch.stack([state.resampled for state in states]).any()
    torch.testing.assert_close(states[-1].ess, torch.full((2000,), 4.0, dtype=torch.float64))


def test_an_impossible_end_is_drawn_only_where_all_are(model, generator):
    oracle, table = model.oracle, rewards(model.oracle, True)
    x = last(run(model, Particles(lambda x0: table[oracle.index(x0)], 0.1, 2, 0), 2000, generator))
    distribution = unguided(model)
    hopeless = distribution[table == -math.inf].sum().item() ** 2
    share = (table[oracle.index(x)] == -math.inf).double().mean().item()
    assert abs(share - hopeless) < 4 * math.sqrt(hopeless * (1 - hopeless) / 2000)


def test_the_cost_is_two_calls_a_step(world, generator):
    w = world(2)
    kernel, denoiser = CountEvaluations(w.kernel), CountEvaluations(w.denoiser)
    states = Particles(lambda x0: x0.sum(1), 1.0, 7, draws=5)(
        _unused, masks(21), kernel=kernel, denoiser=denoiser, times=GRID, generator=generator
    )
    next(states)
    assert (kernel.calls, denoiser.calls) == (0, 0)
    list(states)
    assert (kernel.calls, kernel.rows) == (4, 4 * 21)
    assert (denoiser.calls, denoiser.rows) == (3, 3 * 21)


def test_the_same_seed_gives_the_same_states_and_the_global_generator_is_not_touched(model):
    search = Particles(lambda x0: x0.sum(1), 2.0, 6, 1)
    before = torch.random.get_rng_state()
    one, two = (list(run(model, search, 50, torch.Generator().manual_seed(9))) for _ in range(2))
    assert all(torch.equal(a.x, b.x) and torch.equal(a.ess, b.ess) for a, b in zip(one, two, strict=True))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"gamma": -1.0}, r"Expected a finite `gamma` >= 0, got -1\.0\."),
        ({"gamma": math.inf}, "finite `gamma` >= 0, got inf"),
        ({"gamma": math.nan}, "finite `gamma` >= 0, got nan"),
        ({"particles": 0}, r"Expected `particles` >= 1, got 0\."),
        ({"threshold": 1.5}, r"Expected 0 <= `threshold` <= 1, got 1\.5\."),
        ({"penalty": -1}, r"Expected a finite `penalty` >= 0, got -1\."),
        ({"draws": 0}, r"Expected `draws` >= 1, got 0\."),
    ],
)
def test_construction_errors(keywords, message):
    with pytest.raises(ValueError, match=message):
        Particles(**{"reward": _unused, "gamma": 1.0, "particles": 4, **keywords})


weights = st.lists(st.one_of(st.just(-math.inf), st.floats(-30, 5)), min_size=1, max_size=12)


@given(weights.filter(lambda row: max(row) > -math.inf), st.integers(0, 1000))
def test_systematic_counts_are_the_expected_ones_rounded(row, seed):
    log_weights = torch.tensor([row], dtype=torch.float64)
    ancestors = systematic(log_weights, torch.Generator().manual_seed(seed))
    expected = len(row) * log_weights.softmax(-1)[0]
    counts = ancestors[0].bincount(minlength=len(row))
    assert ((counts >= (expected - 1e-9).floor()) & (counts <= (expected + 1e-9).ceil())).all()
    assert counts.sum() == len(row)
    assert (counts[log_weights[0] == -math.inf] == 0).all()


def test_systematic_resampling_is_unbiased(generator):
    w = torch.tensor([0.05, 0.31, 0.0, 0.24, 0.4], dtype=torch.float64)
    counts = torch.nn.functional.one_hot(systematic(w.log().expand(20_000, 5), generator), 5).sum(1).double()
    # Each count has one of two values around 5 w.
    deviation = (5 * w % 1 * (1 - 5 * w % 1) / 20_000).sqrt()
    assert ((counts.mean(0) - 5 * w).abs() <= 4 * deviation + 1e-12).all()


def test_the_largest_uniform_number_stays_inside(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda size, dtype, **kwargs: torch.full(size, 1 - 2.0**-53, dtype=dtype))
    log_weights = torch.tensor([0.1] * 10 + [0.0]).double().log()[None]
    assert systematic(log_weights)[0, -1] == 9


@given(weights.filter(lambda row: max(row) > -math.inf), st.floats(-1e4, 1e4))
def test_effective_sample_size_formula(row, shift):
    w = torch.tensor([row], dtype=torch.float64).exp()
    torch.testing.assert_close(
        effective_sample_size(torch.tensor([row], dtype=torch.float64) + shift),
        w.sum(1) ** 2 / (w**2).sum(1),
        rtol=1e-6,
        atol=0,
    )
