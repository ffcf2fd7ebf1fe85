import itertools
import math

import pytest
import torch

from discrete_diffusion.guidance import ClassifierFree, Temperature, autoregressive, last, sample, sample_categorical
from discrete_diffusion.guidance.constraints import Allowed, anything, ban, exact_length, only
from discrete_diffusion.guidance.searches.particles import Particles

GRID = torch.linspace(1, 0, 5, dtype=torch.float64)
ALLOWED = only({0: [0, 2], 1: [1, 2]}, 2, 4)
LATENT = ALLOWED | ~ban([3], 2, 4)
XT, T = torch.tensor([[0, 3], [1, 2], [3, 3]]), torch.tensor([0.2, 0.5, 0.9])


def table(xt, *times, y=None, at=None):
    """A fixed distribution over four tokens for each token of x_t, different with a label."""
    logits = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    label = torch.full((len(xt),), 2) if y is None else y
    log_probs = logits.log_softmax(-1)[label[:, None], xt]
    return log_probs if at is None else log_probs[at]


def obeys(sequences, allowed):
    return allowed[torch.arange(sequences.shape[1]), sequences].all(-1)


def masks(rows, length=2):
    return torch.full((rows, length), 3)


def without_labels(kernel):
    return lambda xt, t, s: kernel(xt, t, s)


def check_distribution(oracle, x, distribution, limit):
    counts = oracle.index(x).bincount(minlength=len(distribution)).double()
    assert counts[distribution == 0].sum() == 0
    assert (
        (counts - len(x) * distribution)[distribution > 0] ** 2 / (len(x) * distribution[distribution > 0])
    ).sum() < limit


@pytest.mark.parametrize("times", [(T,), (T, T / 2)])
@pytest.mark.parametrize("allowed", [ALLOWED, torch.stack([ALLOWED, LATENT, ALLOWED])])
def test_formula(times, allowed):
    y = torch.tensor([0, 1, 1])
    log_probs = Allowed(table, allowed)(XT, *times, y=y)
    weights = table(XT, *times, y=y).exp() * allowed
    torch.testing.assert_close(log_probs.exp(), weights / weights.sum(-1, keepdim=True))
    assert torch.equal(log_probs == -math.inf, ~allowed.expand(3, 2, 4))
    at = torch.tensor([[True, False], [False, True], [True, True]])
    torch.testing.assert_close(Allowed(table, allowed)(XT, *times, y=y, at=at), log_probs[at])


def test_anything_changes_nothing():
    torch.testing.assert_close(Allowed(table, anything(2, 4))(XT, T), table(XT, T))


@pytest.mark.parametrize("level", ["denoiser", "kernel"])
def test_masked_sampling_never_holds_a_forbidden_token(world, generator, level):
    w = world(2)
    kernel = w.lift(Allowed(w.denoiser, ALLOWED)) if level == "denoiser" else Allowed(w.kernel, LATENT)
    for steps in range(2, len(GRID) + 1):
        distribution = w.oracle.distribution(without_labels(kernel), GRID[:steps].tolist())
        assert distribution[~obeys(w.oracle.sequences, LATENT)].sum() == 0
        torch.testing.assert_close(distribution.sum(), torch.ones((), dtype=torch.float64))
    assert distribution[~obeys(w.oracle.sequences, ALLOWED)].sum() == 0
    assert (distribution[obeys(w.oracle.sequences, ALLOWED)] > 0).all()
    x = sample(kernel, masks(2000), GRID, generator=generator)
    check_distribution(w.oracle, x, distribution, 16.27)  # 3 degrees of freedom, 0.1 %


@pytest.mark.parametrize("level", ["denoiser", "kernel"])
def test_uniform_sampling_never_ends_in_a_forbidden_token(oracle, level):
    """Around the kernel not on the way either; around the denoiser the noise of a latent is free."""
    exact = oracle.random(3, 2, torch.ones(3))
    allowed = ALLOWED[:, :3]

    def denoiser(xt, t):
        return exact.leave_one_out(1 - t[0].item())[exact.index(xt)].log()

    def lift(denoiser):
        def kernel(xt, t, s):
            alpha_t, alpha_s = 1 - t[0].item(), 1 - s[0].item()
            # q(x_t | x_s), which is symmetric, times the distribution of x_s.
            arrived = exact.token_corruption(alpha_t / alpha_s)[xt]
            weights = arrived * (alpha_s * denoiser(xt, t).exp() + (1 - alpha_s) / 3)
            return (weights / weights.sum(-1, keepdim=True)).log()

        return kernel

    kernel = lift(Allowed(denoiser, allowed)) if level == "denoiser" else Allowed(lift(denoiser), allowed)
    good = obeys(exact.sequences, allowed)
    bad = [exact.distribution(kernel, GRID[:steps].tolist())[~good].sum().item() for steps in range(2, len(GRID) + 1)]
    distribution = exact.distribution(kernel, GRID.tolist())
    assert bad[-1] == 0
    assert (distribution[good] > 0).all()
    torch.testing.assert_close(distribution.sum(), torch.ones((), dtype=torch.float64))
    if level == "kernel":
        assert bad == [0, 0, 0, 0]
    else:
        assert min(bad[:-1]) > 0


@pytest.mark.parametrize("use_at", [False, True])
def test_left_to_right_sampling_never_draws_a_forbidden_token(world, generator, use_at):
    w = world(2)
    model = Allowed(w.denoiser, ALLOWED)
    states = list(autoregressive(model, masks(2000), generator=generator, use_at=use_at))
    for state in states:
        assert obeys(state.x, LATENT).all()
    # p(a) over allowed a, times p(b | a) over allowed b.
    joint = w.oracle.joint.view(4, 4)
    first = joint.sum(1) * ALLOWED[0]
    second = joint * ALLOWED[1]
    distribution = (first / first.sum())[:, None] * torch.nan_to_num(second / second.sum(1, keepdim=True))
    check_distribution(w.oracle, states[-1].x, distribution.flatten(), 16.27)


def test_a_distribution_that_looks_ahead_is_the_particles_business(world, generator):
    """Allowed is not the conditional distribution; a reward that is -inf where a sequence is not allowed gives that."""
    w = world(2)
    allowed = only({0: [1]}, 2, 4)
    good = obeys(w.oracle.sequences, allowed)
    plain = w.oracle.distribution(without_labels(w.kernel), GRID.tolist())
    target = plain * good / plain[good].sum()
    local = w.oracle.distribution(without_labels(w.lift(Allowed(w.denoiser, allowed))), GRID.tolist())
    assert (local - target).abs().sum() / 2 > 0.09

    def reward(x0):
        return torch.where(obeys(x0, allowed), 0.0, -math.inf)

    search = Particles(reward, 1.0, 64)
    states = search(
        lambda: None, masks(search.rows(2000)), kernel=w.kernel, denoiser=w.denoiser, times=GRID, generator=generator
    )
    check_distribution(w.oracle, last(states), target, 13.82)  # 2 degrees of freedom, 0.1 %


def test_other_methods_do_not_bring_a_forbidden_token_back():
    y = torch.tensor([0, 1, 0])
    for model in (
        ClassifierFree(Allowed(table, ALLOWED), 3.0, 2),
        Allowed(ClassifierFree(table, 3.0, 2), torch.stack([ALLOWED] * 3)),
        Temperature(Allowed(table, ALLOWED), 5.0),
    ):
        log_probs = model(XT, T, y=y)
        assert torch.equal(log_probs == -math.inf, ~ALLOWED.expand(3, 2, 4))
        torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(3, 2, dtype=torch.float64))


def test_a_forbidden_token_that_is_carried_over_is_an_error_at_sampling(world, generator):
    w = world(2)
    kernel = Allowed(w.kernel, LATENT)
    clamp = torch.tensor([[1, -1]])
    log_probs = kernel(torch.tensor([[1, 3]]), T[:1], T[:1] / 2)
    assert (log_probs[0, 0] == -math.inf).all()
    assert not log_probs.isnan().any()
    with pytest.raises(ValueError, match="possible token in every row"):
        sample(kernel, masks(1), GRID, clamp=clamp, generator=generator)


def test_dtype_and_base_are_kept():
    def half(xt, t):
        return table(xt).to(torch.bfloat16)

    before = half(XT, T)
    assert Allowed(lambda xt, t: before, ALLOWED)(XT, T).dtype == torch.bfloat16
    assert torch.equal(before, half(XT, T))


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        (ALLOWED & ban([0, 2], 2, 4), r"an allowed token at every position, got none at position 0\."),
        (torch.stack([ALLOWED, ALLOWED & ban([1, 2], 2, 4)]), r"got none at position 1 of row 1\."),
        (ALLOWED[0], r"`allowed` of shape \(l, v\) or \(b, l, v\), got \(4,\)"),
    ],
)
def test_construction_errors(allowed, message):
    with pytest.raises(ValueError, match=message):
        Allowed(table, allowed)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Allowed(table, anything(3, 4)), r"tokens of shape \(\., l\) = \(3,\) as `allowed` has, got \(3, 2\)"),
        (lambda: Allowed(table, anything(2, 5)), "a vocabulary of 5 as `allowed` has, got 4"),
        (
            lambda: ClassifierFree(Allowed(table, torch.stack([ALLOWED] * 3)), 2.0, 2),
            r"tokens of shape \(b, l\) = \(3, 2\) as `allowed` has, got \(6, 2\)",
        ),
    ],
)
def test_shapes_must_match(make, message):
    with pytest.raises(ValueError, match=message):
        make()(XT, T, y=torch.zeros(3, dtype=torch.int64))


def test_ban_and_only():
    assert anything(2, 3).tolist() == [[True] * 3] * 2
    assert ban([1], 2, 3).tolist() == [[True, False, True]] * 2
    assert ban([], 2, 3).all()
    assert only({1: [0, 2]}, 2, 3).tolist() == [[True] * 3, [True, False, True]]
    both = ban([2], 2, 3) & only({0: [1, 2]}, 2, 3)
    assert both.tolist() == [[False, True, False], [True, True, False]]


@pytest.mark.parametrize("bos_id", [0, None])
@pytest.mark.parametrize("n", [0, 1, 3])
def test_exact_length_is_what_reads_so(n, bos_id):
    """By going through all 7,776 sequences: <bos> 0, <eos> 1, <mask> 2, <pad> 3, and two tokens."""
    allowed = exact_length(n, 5, 6, eos_id=1, pad_id=3, bos_id=bos_id, special_ids=[0, 2])
    for row in itertools.product(range(6), repeat=5):
        rest = row if bos_id is None else row[1:]
        body, end = rest[:n], rest[n:]
        expected = all(token in (4, 5) for token in body) and end[:1] == (1,) and all(token == 3 for token in end[1:])
        if bos_id is not None:
            expected = expected and row[0] == bos_id
        assert bool(allowed[range(5), row].all()) == expected


def test_a_sample_has_the_requested_length(generator):
    allowed = exact_length(2, 6, 7, eos_id=1, pad_id=3, bos_id=0, special_ids=[2, 4])
    x = sample_categorical(
        Allowed(lambda xt, t: torch.zeros(*xt.shape, 7), allowed)(masks(50, 6), T[0].expand(50)), generator
    )
    assert (x[:, [0, 3, 4, 5]] == torch.tensor([0, 1, 3, 3])).all()
    assert set(x[:, 1:3].flatten().tolist()) == {5, 6}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ban([3], 2, 3), "Expected 0 <= token < 3, got 3"),
        (lambda: ban([-1], 2, 3), "Expected 0 <= token < 3, got -1"),
        (lambda: only({2: [0]}, 2, 3), "Expected 0 <= position < 2, got 2"),
        (lambda: only({0: [5]}, 2, 3), "Expected 0 <= token < 3, got 5"),
        (lambda: exact_length(4, 5, 6, eos_id=1, pad_id=3, bos_id=0), "0 <= `n` <= 3 so that the end fits into 5, got"),
        (lambda: exact_length(-1, 5, 6, eos_id=1, pad_id=3), "0 <= `n` <= 4 so that the end fits into 5, got -1"),
    ],
)
def test_builders_refuse_what_is_outside(make, message):
    with pytest.raises(ValueError, match=message):
        make()
