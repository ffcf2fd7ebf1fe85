import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from discrete_diffusion.guidance.evaluations import CountEvaluations
from discrete_diffusion.guidance.methods.classifier_based import ClassifierBased
from discrete_diffusion.guidance.methods.first_order import FirstOrder
from discrete_diffusion.guidance.methods.hybrid import Hybrid

B, L, V = 4, 3, 5
ALL = L * (V - 1)
F64 = torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


XT = torch.randint(V, (B, L), generator=generator())
T, S = torch.linspace(0.9, 0.3, B, dtype=F64), torch.linspace(0.2, 0.1, B, dtype=F64)
TABLE = torch.randn(L, V, V, dtype=F64, generator=generator(1)) * 2
# One impossible outcome, and one decided position: token 4 at the last position stays.
TABLE[0, :, 2] = -math.inf
TABLE[2, 4] = torch.where(torch.arange(V) == 4, 0.0, -math.inf)


def denoiser(xt, t, *, y=None, at=None):
    log_probs = (TABLE[torch.arange(L), xt] * t[:, None, None]).log_softmax(-1)
    return log_probs if at is None else log_probs[at]


def kernel(xt, t, s, *, y=None):
    return (TABLE[torch.arange(L), xt] * (t - s)[:, None, None]).log_softmax(-1)


levels = pytest.mark.parametrize(("base", "times"), [(denoiser, (T,)), (kernel, (T, S))], ids=["denoiser", "kernel"])


def floats(x):
    return torch.nn.functional.one_hot(x, V).to(F64) if x.ndim == 2 else x


class Linear(torch.nn.Module):
    """log p(y | x) linear in the one-hots; so is what `FirstOrder` takes it for."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(L, V, dtype=F64, generator=generator(2)))

    def forward(self, x, t):
        return (floats(x) * self.weight).sum((1, 2)) * (1 + t) - 20


class Curved(torch.nn.Module):
    """A small network in which positions and tokens interact."""

    def __init__(self, seed=3, scale=2.0):
        super().__init__()
        self.hidden = torch.nn.Linear(L * V, 16, dtype=F64)
        self.output = torch.nn.Linear(16, 2, dtype=F64)
        for parameter in self.parameters():
            values = torch.randn(parameter.shape, dtype=F64, generator=generator(seed))
            parameter.data = scale * values / math.sqrt(parameter.shape[-1])

    def forward(self, x, t):
        return self.output(torch.tanh(self.hidden(floats(x).flatten(1)) * (1 + t[:, None]))).log_softmax(-1)[:, 1]


@levels
@pytest.mark.parametrize("gamma", [0, 1, 2.5])
def test_first_order_is_exact_for_a_linear_likelihood(base, times, gamma):
    likelihood = Linear()
    guided = FirstOrder(base, likelihood, gamma)(XT, *times)
    torch.testing.assert_close(guided, ClassifierBased(base, likelihood, gamma)(XT, *times))
    assert torch.equal(guided == -math.inf, base(XT, *times) == -math.inf)
    assert gamma > 0 or torch.equal(guided, base(XT, *times))


@levels
def test_first_order_is_the_formula(base, times):
    """log p(y | x) + g[l, v] - g[l, x^l], the gradient by central differences."""
    likelihood, gamma, step = Curved(), 1.5, 1e-5
    onehot = floats(XT)
    slope = torch.zeros(B, L, V, dtype=F64)
    for position in range(L):
        for token in range(V):
            nudge = torch.zeros_like(onehot)
            nudge[:, position, token] = step
            slope[:, position, token] = (
                (likelihood(onehot + nudge, T) - likelihood(onehot - nudge, T)) / (2 * step)
            ).detach()
    rise = slope - slope.gather(-1, XT[..., None])
    p = base(XT, *times).exp() * rise.exp() ** gamma
    guided = FirstOrder(base, likelihood, gamma)(XT, *times)
    torch.testing.assert_close(guided.exp(), p / p.sum(-1, keepdim=True), rtol=1e-6, atol=1e-8)
    # Near zero every function is linear, and far from it this one is not.
    error = (guided.exp() - ClassifierBased(base, likelihood, gamma)(XT, *times).exp()).abs().max()
    assert error > 0.05


@levels
def test_first_order_costs_one_call_of_b_rows_and_leaves_no_gradient(base, times):
    network = Curved()
    likelihood = CountEvaluations(network)
    expected = FirstOrder(base, likelihood, 2.0)(XT, *times)
    assert (likelihood.calls, likelihood.rows) == (1, B)
    assert not expected.requires_grad
    with torch.no_grad():
        assert torch.equal(FirstOrder(base, likelihood, 2.0)(XT, *times), expected)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        inside = tuple(time * 1 for time in times)
        assert torch.equal(FirstOrder(base, likelihood, 2.0)(XT.clone(), *inside), expected)
        assert torch.equal(Hybrid(base, likelihood, 2.0, 0)(XT.clone(), *inside), expected)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())


def test_nothing_is_evaluated_where_nothing_is_undecided():
    def decided(xt, t):
        return floats(xt).log()

    likelihood = CountEvaluations(Curved())
    for guided in (FirstOrder(decided, likelihood, 2.0), Hybrid(decided, likelihood, 2.0, 3)):
        assert torch.equal(guided(XT, T), decided(XT, T))
    assert likelihood.calls == 0


def test_at_selects_the_same_rows():
    at = torch.rand(B, L, generator=generator(5)) < 0.5
    guided = FirstOrder(denoiser, Curved(), 2.0)
    torch.testing.assert_close(guided(XT, T, at=at), guided(XT, T)[at])
    # The likeliest jumps are those at the positions of `at`.
    every = Hybrid(denoiser, Curved(), 2.0, ALL)
    torch.testing.assert_close(every(XT, T, at=at), every(XT, T)[at])
    for method in (guided, every):
        assert method(XT, T, at=torch.zeros_like(at)).shape == (0, V)


@levels
@given(gamma=st.floats(0.0, 5.0), seed=st.integers(0, 20))
def test_hybrid_is_first_order_at_0_and_exact_at_all(base, times, gamma, seed):
    likelihood = Curved(seed)
    none = Hybrid(base, likelihood, gamma, 0)(XT, *times)
    assert torch.equal(none, FirstOrder(base, likelihood, gamma)(XT, *times))
    for exact in (ALL, 1000):
        every = Hybrid(base, likelihood, gamma, exact)(XT, *times)
        torch.testing.assert_close(every, ClassifierBased(base, likelihood, gamma)(XT, *times))


@levels
@pytest.mark.parametrize("exact", [0, 1, 3, 7, ALL])
def test_hybrid_is_exact_on_the_likeliest_jumps_of_each_row(base, times, exact):
    likelihood, gamma = Curved(), 1.5
    log_probs, onehot = base(XT, *times), floats(XT).requires_grad_()
    own = likelihood(onehot, T)
    (slope,) = torch.autograd.grad(own.sum(), onehot)
    weights, rows = log_probs.exp(), B
    for b in range(B):
        jumps = [
            (-log_probs[b, i, v].item(), i, v)
            for i in range(L)
            for v in range(V)
            if v != XT[b, i] and math.isfinite(log_probs[b, i, v]) and log_probs[b, i].exp().max() < 1
        ]
        chosen = {(i, v) for _, i, v in sorted(jumps)[:exact]}
        rows += len(chosen)
        for _, i, v in jumps:
            jumped = XT[b : b + 1].clone()
            jumped[0, i] = v
            if (i, v) in chosen:
                rise = likelihood(jumped, T[b : b + 1])[0] - own[b]
            else:
                rise = slope[b, i, v] - slope[b, i, XT[b, i]]
            weights[b, i, v] *= rise.detach().exp() ** gamma
    counted = CountEvaluations(likelihood)
    for max_rows in (2, 4096):
        counted.reset()
        guided = Hybrid(base, counted, gamma, exact, max_rows)(XT, *times)
        torch.testing.assert_close(guided.exp(), weights / weights.sum(-1, keepdim=True))
        assert counted.rows == rows
        assert counted.calls == 1 + math.ceil((rows - B) / max_rows)


def test_ties_go_to_the_earlier_position_and_the_lower_token():
    def flat(xt, t):
        return torch.full((*xt.shape, V), 1 / V, dtype=F64).log()

    evaluated = []

    def likelihood(x, t):
        if x.ndim == 2:
            evaluated.extend(x.tolist())
        return Curved()(x, t)

    Hybrid(flat, likelihood, 1.0, 5)(torch.tensor([[1, 4, 0]]), T[:1])
    assert evaluated == [[0, 4, 0], [2, 4, 0], [3, 4, 0], [4, 4, 0], [1, 0, 0]]


@given(seed=st.integers(0, 1000), exact=st.integers(0, 10), everywhere=st.booleans())
def test_the_likeliest_jumps_are_the_first_of_a_stable_sort(seed, exact, everywhere):
    random = generator(seed)
    # Few distinct weights, so that most jumps have equals.
    table = torch.randint(-2, 3, (B, L, V), generator=random).to(F64)
    table = table.masked_fill(table == -2, -math.inf).log_softmax(-1).nan_to_num(-math.log(V), neginf=-math.inf)
    at = None if everywhere else torch.rand(B, L, generator=random) < 0.6
    read = []

    def likelihood(x, t):
        if x.ndim == 2:
            read.extend(x.tolist())
        return Curved()(x, t)

    def base(xt, t, *, at=None):
        return table if at is None else table[at]

    Hybrid(base, likelihood, 1.0, exact)(XT, T, at=at)
    expected = []
    for b in range(B):
        jumps = [
            (-table[b, i, v].item(), i, v)
            for i in range(L)
            for v in range(V)
            if (at is None or at[b, i]) and v != XT[b, i] and -math.inf < table[b, i, v] < 0
        ]
        for i, v in sorted((i, v) for _, i, v in sorted(jumps)[:exact]):
            expected.append([v if j == i else token for j, token in enumerate(XT[b].tolist())])
    assert read == expected


def test_the_error_falls_as_more_jumps_are_exact(record_property):
    """Mean absolute error of the guided probabilities against `ClassifierBased`, over 20 classifiers."""
    shares = (0, 1, 2, 4, 8, ALL)
    errors = dict.fromkeys(shares, 0.0)
    for seed in range(20):
        likelihood = Curved(seed)
        target = ClassifierBased(denoiser, likelihood, 2.0)(XT, T).exp()
        for exact in shares:
            guided = Hybrid(denoiser, likelihood, 2.0, exact)(XT, T).exp()
            errors[exact] += (guided - target).abs().mean().item() / 20
    record_property("mean absolute error by number of exact jumps", errors)
    report = list(errors.values())
    assert report == sorted(report, reverse=True), errors
    assert report[0] > 0.05, errors
    assert errors[8] < 0.5 * errors[0], errors
    assert errors[ALL] < 1e-12, errors


@pytest.mark.parametrize("exact", [0, 3, ALL])
def test_a_sequence_that_is_ruled_out_has_no_slope_and_makes_no_nan(exact):
    def never(x, t):
        """-inf unless the first token is 2, by a function whose gradient is no number."""
        return floats(x)[:, 0, 2].log() + 0 * t

    def flat(xt, t):
        return torch.zeros(*xt.shape, V, dtype=F64).log_softmax(-1)

    x = torch.tensor([[1, 1, 1], [2, 1, 1]])
    guided = Hybrid(flat, never, 1.0, exact)(x, T[:2])
    assert not guided.isnan().any()
    assert (guided[0, 1:] == -math.inf).all()
    if exact:
        # The exact form finds the one way out.
        assert torch.equal(guided[0, 0].exp(), torch.eye(V, dtype=F64)[2])
    else:
        assert (guided[0] == -math.inf).all()
        assert torch.equal(guided, FirstOrder(flat, never, 1.0)(x, T[:2]))
