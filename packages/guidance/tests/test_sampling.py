import itertools

import pytest
import torch

from discrete_diffusion.guidance import (
    ClassifierFree,
    CountEvaluations,
    Nucleus,
    State,
    Temperature,
    autoregressive,
    last,
    sample,
    trajectory,
)

NULL = 2
GRID = torch.linspace(1, 0, 5, dtype=torch.float64)


def masked(b, length):
    return torch.full((b, length), 3)


def chi_square(world, x, distribution):
    """Pearson's statistic of sequences over those that have weight; the others must not occur."""
    counts = world.oracle.index(x).bincount(minlength=len(distribution)).double()
    assert counts[distribution == 0].sum() == 0
    expected = len(x) * distribution[distribution > 0]
    return ((counts[distribution > 0] - expected) ** 2 / expected).sum(), len(expected) - 1


def distance(p, q):
    return (p - q).abs().sum().item() / 2


def labelled(kernel, y):
    return lambda xt, t, s: kernel(xt, t, s, y=torch.full((len(xt),), y))


def grid(n):
    return [1 - i / n for i in range(n)] + [0.0]


def test_ancestral_sampling_has_the_distribution_of_its_kernel(world, generator):
    w = world(2)
    guided = ClassifierFree(w.kernel, 2.0, NULL)
    x = sample(guided, masked(4000, 2), GRID, y=torch.ones(4000, dtype=torch.int64), generator=generator)
    statistic, freedom = chi_square(w, x, w.oracle.distribution(labelled(guided, 1), GRID.tolist()))
    assert freedom == 8
    assert statistic < 26.12  # 0.1 %


@pytest.mark.parametrize("use_at", [False, True])
def test_left_to_right_sampling_has_the_joint_distribution(world, generator, use_at):
    w = world(2)
    # The exact denoiser is causal once everything to the right is masked.
    base = CountEvaluations(w.denoiser)
    model = ClassifierFree(base, 1.0, NULL)
    y = torch.zeros(4000, dtype=torch.int64)
    states = list(autoregressive(model, masked(4000, 2), y=y, generator=generator, use_at=use_at))
    statistic, freedom = chi_square(w, states[-1].x, w.oracle.conditional_joint(0))
    assert freedom == 8
    assert statistic < 26.12
    assert [state.t for state in states] == [1, 0.5, 0]
    assert (base.calls, base.rows) == (2, 8000)


@pytest.mark.parametrize("level", ["kernel", "denoiser"])
def test_guidance_at_gamma_1_tends_to_the_conditional_at_first_order(world, level):
    w = world(2)
    wrapped = (
        ClassifierFree(w.kernel, 1.0, NULL) if level == "kernel" else w.lift(ClassifierFree(w.denoiser, 1.0, NULL))
    )
    target = w.oracle.conditional_joint(1)
    assert distance(target, w.oracle.joint) > 0.1
    errors = [distance(w.oracle.distribution(labelled(wrapped, 1), grid(n)), target) for n in (16, 32, 64)]
    assert errors[-1] < 0.01
    for coarse, fine in itertools.pairwise(errors):
        assert 0.45 < fine / coarse < 0.55


@pytest.mark.parametrize("n", [1, 3])
def test_one_position_is_guided_to_the_tilted_distribution_exactly(world, n):
    """With one position nothing but the tilt is left: p(x | y)^gamma p(x)^(1 - gamma), whatever the steps."""
    w = world(1)
    gamma = 3.0
    tilted = w.oracle.conditional_joint(0)[:3] ** gamma * w.oracle.joint[:3] ** (1 - gamma)
    kernel = w.lift(ClassifierFree(w.denoiser, gamma, NULL))
    torch.testing.assert_close(w.oracle.distribution(labelled(kernel, 0), grid(n))[:3], tilted / tilted.sum())


def test_infilling_tends_to_the_exact_conditional_at_first_order(world):
    w = world(3)
    clamp = torch.tensor([-1, 1, -1])
    given = torch.nn.functional.one_hot(torch.tensor(1), 4).double().log()

    def clamped(xt, t, s):
        log_probs = w.kernel(torch.where(clamp < 0, xt, clamp), t, s)
        return torch.where((clamp < 0)[:, None], log_probs, given)

    target = w.oracle.joint * (w.oracle.sequences[:, 1] == 1)
    target = target / target.sum()
    errors = [distance(w.oracle.distribution(clamped, grid(n)), target) for n in (16, 32, 64)]
    assert errors[-1] < 0.01
    for coarse, fine in itertools.pairwise(errors):
        assert 0.45 < fine / coarse < 0.55


def test_sampling_with_a_clamp_has_the_conditional_distribution(world, generator):
    w = world(2)
    clamp = torch.tensor([[1, -1]]).expand(3000, 2)
    target = w.oracle.joint * (w.oracle.sequences[:, 0] == 1)
    for x in (
        sample(w.kernel, masked(3000, 2), GRID, clamp=clamp, generator=generator),
        last(autoregressive(w.denoiser, masked(3000, 2), clamp=clamp, generator=generator)),
    ):
        # One free position beside a given one: exact in any number of steps.
        statistic, freedom = chi_square(w, x, target / target.sum())
        assert freedom == 2
        assert statistic < 13.82


@pytest.mark.parametrize("use_at", [False, True])
def test_a_clamp_holds_in_every_state_of_every_sampler(world, generator, use_at):
    w = world(3)
    clamp = torch.tensor([[0, -1, -1], [-1, 2, -1], [-1, -1, -1], [1, 1, 1]])
    start = masked(4, 3)
    runs = (
        list(trajectory(w.kernel, start, GRID, clamp=clamp, generator=generator)),
        list(autoregressive(w.denoiser, start, clamp=clamp, generator=generator, use_at=use_at)),
    )
    for states in runs:
        for state in states:
            assert torch.equal(state.x[clamp >= 0], clamp[clamp >= 0])
        assert (states[0].x[clamp < 0] == 3).all()
        assert (states[-1].x < 3).all()
    assert (start == 3).all()


@pytest.mark.parametrize("use_at", [False, True])
def test_a_clamp_holds_where_the_model_would_change_the_token(generator, use_at):
    def noise(xt, *times, at=None):
        return torch.zeros(*xt.shape, 9) if at is None else torch.zeros(int(at.sum()), 9)

    clamp = torch.tensor([[0, -1, -1, -1], [-1, 2, 3, -1]]).repeat(20, 1)
    for states in (
        trajectory(noise, torch.full_like(clamp, 4), GRID, clamp=clamp, generator=generator),
        autoregressive(noise, torch.full_like(clamp, 4), clamp=clamp, generator=generator, use_at=use_at),
    ):
        for state in states:
            assert torch.equal(state.x[clamp >= 0], clamp[clamp >= 0])
        assert len(state.x[clamp < 0].unique()) == 9


def test_columns_that_are_given_cost_nothing(world, generator):
    base = CountEvaluations(world(3).denoiser)
    clamp = torch.tensor([[0, 1, -1], [2, -1, -1]])
    states = list(autoregressive(base, masked(2, 3), clamp=clamp, generator=generator))
    assert (base.calls, base.rows) == (2, 4)
    assert len(states) == 4


def test_a_trajectory_tells_every_state(world, generator):
    w = world(2)
    start = masked(5, 2)
    states = list(trajectory(w.kernel, start, GRID, generator=generator))
    assert [state.t for state in states] == GRID.tolist()
    assert torch.equal(states[0].x, start)
    for before, after in itertools.pairwise(states):
        kept = before.x != 3
        assert torch.equal(after.x[kept], before.x[kept])
    assert torch.equal(last(iter(states)), states[-1].x)


def test_steps_run_lazily(world, generator):
    network = CountEvaluations(world(2).kernel)
    states = trajectory(network, masked(5, 2), GRID, generator=generator)
    assert next(states).t == 1
    assert network.calls == 0
    next(states)
    assert (network.calls, network.rows) == (1, 5)


def test_no_gradients_inside_and_the_callers_mode_outside(world, generator):
    w = world(2)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    seen = []

    def watched(base):
        def call(*args, **kwargs):
            seen.append(torch.is_grad_enabled() or torch.is_inference_mode_enabled())
            return base(*args, **kwargs) * scale

        return call

    for states in (
        trajectory(watched(w.kernel), masked(2, 2), GRID, generator=generator),
        autoregressive(watched(w.denoiser), masked(2, 2), generator=generator),
    ):
        for _ in states:
            assert torch.is_grad_enabled()
    assert seen == [False] * 6


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: Nucleus(Temperature(ClassifierFree(m, 2.0, NULL), 0.8), 0.9)])
def test_a_seed_decides_and_the_global_generator_is_not_touched(world, wrap):
    w = world(3)
    y = torch.arange(40) % 2

    def both(seed):
        def fresh():
            return {"y": y, "generator": torch.Generator().manual_seed(seed)}

        return torch.cat(
            [
                sample(wrap(w.kernel), masked(40, 3), GRID, **fresh()),
                last(autoregressive(wrap(w.denoiser), masked(40, 3), **fresh())),
            ]
        )

    before = torch.random.get_rng_state()
    first = both(1)
    assert torch.equal(first, both(1))
    assert not torch.equal(first, both(2))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_lambda_is_guided(generator):
    table = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]]).log()
    guided = ClassifierFree(lambda xt, t, s, y: table[y][:, None].expand(*xt.shape, 2), 4.0, NULL)
    x = sample(guided, torch.zeros(300, 4, dtype=torch.int64), GRID, y=torch.ones(300).long(), generator=generator)
    # 0.9^4 / (0.9^4 + 0.1^4) of 1,200 tokens
    assert x.double().mean() > 0.99


def test_an_unlabelled_lambda_is_sampled(generator):
    x = sample(
        lambda xt, t, s: torch.tensor([0.0, float("-inf")]).expand(*xt.shape, 2),
        torch.ones(3, 2, dtype=torch.int64),
        GRID,
        generator=generator,
    )
    assert (x == 0).all()


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.0, 1.0], "strictly descending"),
        ([1.0, 0.5, 0.5, 0.0], "strictly descending"),
        ([1.1, 0.0], r"in \[0, 1\]"),
        ([1.0, -0.1], r"in \[0, 1\]"),
        ([1.0, float("nan"), 0.0], r"in \[0, 1\]"),
        ([1.0], "at least 2 times"),
        ([], "at least 2 times"),
    ],
)
def test_malformed_times_are_refused_at_once(world, times, message):
    with pytest.raises(ValueError, match=message):
        trajectory(world(2).kernel, masked(1, 2), torch.tensor(times))


def test_a_sample_ends_at_the_data(world, generator):
    times = torch.tensor([1.0, 0.5])
    with pytest.raises(ValueError, match=r"end at 0, got 0\.5: use `trajectory`"):
        sample(world(2).kernel, masked(1, 2), times, generator=generator)
    assert [state.t for state in trajectory(world(2).kernel, masked(1, 2), times, generator=generator)] == [1, 0.5]


@pytest.mark.parametrize("clamp", [[[-2, 0]], [[0, 0, 0]]])
def test_malformed_clamps_are_refused_at_once(world, clamp):
    w = world(2)
    # A wrong shape is a TypeError where the annotations are enforced, and a ValueError everywhere else.
    with pytest.raises((ValueError, TypeError), match="clamp"):
        trajectory(w.kernel, masked(1, 2), GRID, clamp=torch.tensor(clamp))
    with pytest.raises((ValueError, TypeError), match="clamp"):
        autoregressive(w.denoiser, masked(1, 2), clamp=torch.tensor(clamp))


def test_a_wrong_shape_from_the_model_is_named(generator):
    with pytest.raises(ValueError, match=r"Expected the kernel to return \(1, 2, vocabulary\), got \(1, 3, 4\)"):
        sample(lambda xt, t, s: torch.zeros(1, 3, 4), masked(1, 2), GRID, generator=generator)
    with pytest.raises(ValueError, match=r"Expected the model to return \(1, 2, vocabulary\), got \(1, 3, 4\)"):
        last(autoregressive(lambda xt, t: torch.zeros(1, 3, 4), masked(1, 2), generator=generator))


def test_last_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="at least one state"):
        last([])
    assert last([State(0.0, torch.zeros(1, 1, dtype=torch.int64))]).shape == (1, 1)
