import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from discrete_diffusion.guidance import ClassifierFree, CountEvaluations, Temperature, autoregressive, last
from discrete_diffusion.guidance.methods.fudge import FUDGE
from discrete_diffusion.guidance.strength import Interval
from discrete_diffusion.guidance.truncation import TopK

V, L, Y, MASK = 4, 3, 1, 3


@dataclass(frozen=True)
class Exact:
    """The Oracle's joint distribution from left to right; token 3 never occurs."""

    oracle: object
    left_to_right = True

    def weights(self, joint: Tensor, tokens: int) -> Tensor:
        """The sum of `joint` over everything behind a prefix, (v^tokens, ...)."""
        return joint.reshape(V**tokens, -1, *joint.shape[1:]).sum(1)

    def number(self, prefix: Tensor) -> Tensor:
        return (prefix * V ** torch.arange(prefix.shape[1] - 1, -1, -1)).sum(1)

    def __call__(self, x, t, *, y=None, at=None):
        joints = torch.stack([self.oracle.conditional_joint(label) for label in (0, 1, None)])
        label = torch.full((len(x),), 2) if y is None else y
        columns = []
        for i in range(L):
            distribution = torch.stack([self.weights(joint, i + 1).reshape(-1, V) for joint in joints])
            columns.append(
                (distribution / distribution.sum(-1, keepdim=True)).nan_to_num()[label, self.number(x[:, :i])]
            )
        log_probs = torch.stack(columns, 1).log()
        return log_probs if at is None else log_probs[at]

    def likelihood(self, x: Tensor, t: Tensor) -> Tensor:
        """log p(y = 1 | prefix), and t must be the share that is still to draw."""
        torch.testing.assert_close(t, torch.full((len(x),), 1 - x.shape[1] / L, dtype=t.dtype))
        weights = self.weights(self.oracle.joint[:, None] * self.oracle.likelihood, x.shape[1])[self.number(x)]
        return (weights[:, Y] / weights.sum(1)).log()

    def sequence_distribution(self, model) -> Tensor:
        """The probability with which left-to-right sampling draws each sequence."""
        x = self.oracle.sequences
        log_probs = model(x, torch.ones(len(x)))
        assert not log_probs.isnan().any()
        return log_probs.gather(-1, x[..., None]).squeeze(-1).sum(1).exp()


@pytest.fixture
def exact(oracle):
    return Exact(oracle.random(V, L, torch.ones(V), mask_id=MASK))


def test_the_exact_classifier_gives_the_conditional_distribution(exact):
    torch.testing.assert_close(exact.sequence_distribution(exact), exact.oracle.joint, atol=1e-12, rtol=0)
    distribution = exact.sequence_distribution(FUDGE(exact, exact.likelihood, 1, None))
    torch.testing.assert_close(distribution, exact.oracle.conditional_joint(Y), atol=1e-12, rtol=0)
    assert (distribution - exact.oracle.joint).abs().max() > 0.01


@pytest.mark.parametrize("gamma", [0.3, 2.5])
@pytest.mark.parametrize("top_k", [None, 2, 1, 9])
def test_formula(exact, gamma, top_k):
    x = torch.tensor([[0, 1, 2], [2, 2, 0], [1, 0, 0]])
    guided = FUDGE(exact, exact.likelihood, gamma, top_k)(x, torch.ones(3))
    base = exact(x, torch.ones(3)).exp()
    for row in range(3):
        for i in range(L):
            scores = torch.zeros(V, dtype=torch.float64)
            for v in sorted(range(3), key=lambda v: -base[row, i, v])[: top_k or V]:
                prefix = torch.cat([x[row, :i], torch.tensor([v])])[None]
                p_y = exact.likelihood(prefix, torch.tensor([1 - (i + 1) / L])).exp()
                scores[v] = base[row, i, v] * float(p_y) ** gamma
            torch.testing.assert_close(guided[row, i].exp(), scores / scores.sum())


def test_gamma_zero_is_the_base_or_its_top_k_and_costs_nothing(exact):
    likelihood = CountEvaluations(exact.likelihood)
    x, t = exact.oracle.sequences, torch.ones(len(exact.oracle.sequences))
    for gamma in (0, 0.0, lambda t: 0 * t):
        for top_k in (None, V):
            assert torch.equal(FUDGE(exact, likelihood, gamma, top_k)(x, t), exact(x, t))
        torch.testing.assert_close(FUDGE(exact, likelihood, gamma, 2)(x, t), TopK(exact, 2)(x, t))
    assert likelihood.calls == 0


def test_rows_of_the_likelihood(exact):
    x, t = torch.tensor([[0, 1, 2], [2, 2, 0]]), torch.ones(2)
    # Three tokens are possible in each of 2 * 3 places; one candidate alone asks for none.
    for top_k, rows in ((None, 18), (2, 12), (1, 0)):
        likelihood = CountEvaluations(exact.likelihood)
        FUDGE(exact, likelihood, 1, top_k)(x, t)
        assert likelihood.rows == rows
    likelihood = CountEvaluations(exact.likelihood)
    # Read where a column is about to be drawn: t = 1, 2/3, 1/3.
    FUDGE(exact, likelihood, Interval(2, 0.5, 0.9), None)(x, t)
    assert likelihood.rows == 2 * 3


def test_chunks_change_nothing(exact):
    sizes = []

    def likelihood(x, t):
        sizes.append(len(x))
        return exact.likelihood(x, t)

    x = exact.oracle.sequences
    t = torch.ones(len(x))
    whole = FUDGE(exact, likelihood, 2, None)(x, t)
    evaluated = sum(sizes)
    sizes.clear()
    assert torch.equal(FUDGE(exact, likelihood, 2, None, max_rows=5)(x, t), whole)
    assert max(sizes) == 5
    assert sum(sizes) == evaluated


@pytest.mark.parametrize(
    "at",
    [
        [[False, True, False]] * 3,
        [[False, False, True], [False, False, False], [False, False, True]],
        [[True, False, True], [False, True, False], [True, True, True]],
        [[False, False, False]] * 3,
    ],
)
def test_at_selects_the_same_rows(exact, at):
    at = torch.tensor(at)
    x, t = torch.tensor([[0, 1, 2], [2, 2, 0], [1, 0, 0]]), torch.ones(3)
    guided = FUDGE(exact, exact.likelihood, 2, 2)
    assert torch.equal(guided(x, t, at=at), guided(x, t)[at])


@pytest.mark.parametrize("use_at", [False, True])
def test_what_the_sampler_draws(exact, generator, use_at):
    model = FUDGE(exact, exact.likelihood, 1.0, None)
    draws = 4000
    x = last(autoregressive(model, torch.zeros(draws, L).long(), generator=generator, use_at=use_at))
    counts = exact.oracle.index(x).bincount(minlength=V**L)
    expected = draws * exact.oracle.conditional_joint(Y)
    assert counts[expected == 0].sum() == 0
    possible = expected > 0
    statistic = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    # 26 degrees of freedom: beyond 54 in 1 of 1,000
    assert statistic < 54
    unguided = draws * exact.oracle.joint[possible]
    assert ((counts[possible] - unguided) ** 2 / unguided).sum() > 500


def test_nests_with_other_methods(exact):
    x, y, t = exact.oracle.sequences, torch.zeros(V**L).long(), torch.ones(V**L)
    inner = ClassifierFree(exact, 1.5, 2)
    p = inner.base(x, t, y=y).exp() ** 1.5 * exact(x, t).exp() ** -0.5
    p = (p / p.sum(-1, keepdim=True)).nan_to_num()
    guided = FUDGE(Temperature(inner, 0.5), exact.likelihood, 1, None)(x, t, y=y).exp()
    ratio = guided[:, -1] / (p[:, -1] ** 2)
    likelihood = torch.stack(
        [exact.likelihood(torch.cat([x[:, :2], torch.full((len(x), 1), v)], 1), 0 * t).exp() for v in range(3)], 1
    )
    possible = (x[:, :2] != MASK).all(1)
    expected = likelihood / (likelihood * p[:, -1, :3] ** 2).sum(-1, keepdim=True)
    torch.testing.assert_close(ratio[possible, :3], expected[possible])


def test_a_prefix_that_cannot_be_leaves_no_distribution_and_no_nan(exact):
    guided = FUDGE(exact, lambda x, t: torch.full((len(x),), -math.inf), 2, None)(
        torch.zeros(2, L).long(), torch.ones(2)
    )
    assert (guided == -math.inf).all()


def test_dtypes_follow_the_base(exact):
    def single(x, t, *, at=None):
        return exact(x, t).float()

    single.left_to_right = True
    x, t = torch.tensor([[0, 1, 2]]), torch.ones(1)
    guided = FUDGE(single, exact.likelihood, 0.3, None)(x, t)
    assert guided.dtype == torch.float32
    torch.testing.assert_close(guided.double(), FUDGE(exact, exact.likelihood, 0.3, None)(x, t), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: FUDGE(m, m.likelihood, -1.0, None), r"`gamma` >= 0, got -1\.0\."),
        (lambda m: FUDGE(m, m.likelihood, 1, 0), r"Expected `top_k` >= 1 or None, got 0\."),
        (lambda m: FUDGE(m, m.likelihood, 1, None, max_rows=0), r"Expected `max_rows` >= 1, got 0\."),
        (lambda m: FUDGE(lambda x, t: m(x, t), m.likelihood, 1, None), "left-to-right `base` for FUDGE"),
        (lambda m: FUDGE(Temperature(lambda x, t: m(x, t), 2), m.likelihood, 1, None), "left-to-right `base`"),
    ],
)
def test_construction_errors(exact, make, message):
    with pytest.raises(ValueError, match=message):
        make(exact)
