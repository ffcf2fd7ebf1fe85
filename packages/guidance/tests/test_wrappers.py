import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from discrete_diffusion.guidance import ClassifierFree, CountEvaluations, Denoiser, Kernel, Nucleus, Temperature

B, L, V, NULL = 3, 2, 4, 2
Y = torch.tensor([0, 1, 0])
XT = torch.arange(B * L).reshape(B, L) % V
T, S = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0.1, 0.2, 0.3])


def table(seed, impossible=()):
    """Normalized log-probabilities (label, token seen, token)."""
    logits = torch.randn(NULL + 1, V, V, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for index in impossible:
        logits[index] = -math.inf
    return logits.log_softmax(-1)


def denoiser(log_probs):
    def call(xt, t, *, y=None, at=None):
        label = torch.full_like(t, NULL, dtype=torch.int64) if y is None else y
        rows = log_probs[label[:, None], xt] + 0 * t[:, None, None]
        return rows if at is None else rows[at]

    return call


def kernel(log_probs):
    """Depends on both times, so that a wrapper which mixes them up is found out."""

    def call(xt, t, s, *, y=None):
        label = torch.full_like(t, NULL, dtype=torch.int64) if y is None else y
        weight = (t - s / 2).double()[:, None, None]
        return (log_probs[label[:, None], xt] * weight).log_softmax(-1)

    return call


levels = pytest.mark.parametrize(("level", "times"), [(denoiser, (T,)), (kernel, (T, S))], ids=["denoiser", "kernel"])


def tempered(gamma, conditional, unconditional):
    """p_c^gamma p_u^(1 - gamma), normalized, in plain probabilities."""
    p = conditional.exp() ** gamma * unconditional.exp() ** (1 - gamma)
    return p / p.sum(-1, keepdim=True)


@levels
@settings(deadline=None, max_examples=50)
@given(gamma=st.floats(0.0, 6.0), seed=st.integers(0, 100))
def test_classifier_free_formula(level, times, gamma, seed):
    base = level(table(seed))
    guided = ClassifierFree(base, gamma, NULL)(XT, *times, y=Y)
    expected = tempered(gamma, base(XT, *times, y=Y), base(XT, *times))
    torch.testing.assert_close(guided.exp(), expected)


@levels
def test_classifier_free_identities_and_cost(level, times):
    base = CountEvaluations(level(table(0)))
    unconditional, conditional = base.network(XT, *times), base.network(XT, *times, y=Y)
    assert torch.equal(ClassifierFree(base, 0, NULL)(XT, *times, y=Y), unconditional)
    assert torch.equal(ClassifierFree(base, 0.0, NULL)(XT, *times), unconditional)
    assert (base.calls, base.rows) == (2, 2 * B)
    base.reset()
    assert torch.equal(ClassifierFree(base, 1, NULL)(XT, *times, y=Y), conditional)
    assert (base.calls, base.rows) == (1, B)
    base.reset()
    ClassifierFree(base, 2, NULL)(XT, *times, y=Y)
    assert (base.calls, base.rows) == (1, 2 * B)
    base.reset()
    assert (base.calls, base.rows) == (0, 0)


def test_at_selects_the_same_rows():
    at = torch.tensor([[True, False], [False, False], [True, True]])
    base = denoiser(table(1))
    for wrapper in (ClassifierFree(base, 2.5, NULL), Temperature(base, 0.5), Nucleus(base, 0.7)):
        selected = wrapper(XT, T, y=Y, at=at)
        assert selected.shape == (3, V)
        torch.testing.assert_close(selected, wrapper(XT, T, y=Y)[at])


@pytest.mark.parametrize("gamma", [0.3, 0.999, 1.5, 5.0])
def test_impossible_on_either_side_stays_impossible(gamma):
    # Token 0 is impossible with label 0, token 1 without a label, token 2 in both.
    impossible = [(0, slice(None), 0), (NULL, slice(None), 1), (0, slice(None), 2), (NULL, slice(None), 2)]
    base = denoiser(table(2, impossible))
    guided = ClassifierFree(base, gamma, NULL)(XT, T, y=torch.zeros(B, dtype=torch.int64))
    assert torch.equal(guided == -math.inf, torch.tensor([True, True, True, False]).expand(B, L, V))
    assert torch.equal(guided[..., 3], torch.zeros(B, L, dtype=torch.float64))


def test_disjoint_supports_leave_no_distribution_and_no_nan():
    base = denoiser(torch.tensor([[0.0, -math.inf]] * 2 + [[-math.inf, 0.0]])[:, None].expand(3, 2, 2))
    guided = ClassifierFree(base, 2.0, NULL)(torch.zeros(B, L, dtype=torch.int64), T, y=Y)
    assert (guided == -math.inf).all()


@levels
def test_a_wrapper_hands_on_only_what_it_was_given(level, times):
    plain = {1: lambda xt, t: level(table(3))(xt, t), 2: lambda xt, t, s: level(table(3))(xt, t, s)}[len(times)]
    expected = plain(XT, *times)
    for wrapper in (Temperature(plain, 1), Nucleus(plain, 1), Nucleus(Temperature(plain, 1.0), 1.0)):
        assert torch.equal(wrapper(XT, *times), expected)


@levels
@settings(deadline=None, max_examples=50)
@given(temperature=st.floats(0.05, 5.0))
def test_temperature_formula(level, times, temperature):
    base = level(table(4, [(slice(None), slice(None), 1)]))
    p = base(XT, *times, y=Y).exp() ** (1 / temperature)
    torch.testing.assert_close(
        Temperature(base, temperature)(XT, *times, y=Y).exp(), p / p.sum(-1, keepdim=True), atol=1e-12, rtol=1e-9
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_low_temperatures_are_greedy(dtype):
    def base(xt, t):
        return table(5).to(dtype)[NULL, xt]

    assert torch.equal(Temperature(base, 1e-30)(XT, T).exp().argmax(-1), base(XT, T).argmax(-1))
    assert Temperature(base, 1e-30)(XT, T).exp().sum(-1).eq(1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (1e-9, [0, 1, 0, 0, 0]),
        (0.4, [0, 1, 0, 0, 0]),
        (0.41, [0, 2 / 3, 1 / 3, 0, 0]),
        (0.6, [0, 2 / 3, 1 / 3, 0, 0]),
        (0.7, [0, 1 / 2, 1 / 4, 1 / 4, 0]),
        (0.9, [0, 0.4, 0.2, 0.2, 0.2]),
        (1, [0, 0.4, 0.2, 0.2, 0.2]),
    ],
)
def test_nucleus_keeps_the_smallest_set_and_the_lower_index_of_a_tie(p, expected, dtype):
    probs = torch.tensor([0.0, 0.4, 0.2, 0.2, 0.2], dtype=dtype)
    nucleus = Nucleus(lambda xt, t, s: probs.log().expand(*xt.shape, 5), p)
    torch.testing.assert_close(nucleus(XT, T, S).exp(), torch.tensor(expected, dtype=dtype).expand(B, L, 5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tenths", range(1, 10))
def test_nucleus_of_a_thousand_ties_is_exact(tenths, dtype):
    flat = torch.zeros(B, L, 1000, dtype=dtype).log_softmax(-1)
    kept = Nucleus(lambda xt, t: flat, tenths / 10)(XT, T) > -math.inf
    assert torch.equal(kept, (torch.arange(1000) < 100 * tenths).expand(B, L, 1000))


@settings(deadline=None, max_examples=50)
@given(p=st.floats(0.01, 0.99), seed=st.integers(0, 100))
def test_nucleus_is_minimal(p, seed):
    log_probs = table(seed)
    kept = Nucleus(denoiser(log_probs), p)(XT, T, y=Y) > -math.inf
    for row, keep in zip(denoiser(log_probs)(XT, T, y=Y).exp().flatten(0, 1), kept.flatten(0, 1), strict=True):
        inside = sorted(row[keep].tolist())
        assert sum(inside) >= p * (1 - 2e-6)
        assert sum(inside[1:]) < p
        assert not (~keep).any() or inside[0] >= row[~keep].max()


@levels
def test_wrappers_nest(level, times):
    base = CountEvaluations(level(table(6)))
    nested = Nucleus(Temperature(ClassifierFree(base, 2.0, NULL), 0.7), 0.9)
    p = tempered(2.0, base.network(XT, *times, y=Y), base.network(XT, *times)) ** (1 / 0.7)
    p = p / p.sum(-1, keepdim=True)
    ordered, order = p.sort(-1, descending=True)
    kept = ordered * (ordered.cumsum(-1) - ordered < 0.9)
    expected = torch.zeros_like(p).scatter(-1, order, kept / kept.sum(-1, keepdim=True))
    torch.testing.assert_close(nested(XT, *times, y=Y).exp(), expected)
    assert (base.calls, base.rows) == (1, 2 * B)


def test_wrappers_are_denoisers_and_kernels():
    assert isinstance(ClassifierFree(denoiser(table(0)), 2.0, NULL), Denoiser)
    assert isinstance(Temperature(kernel(table(0)), 2.0), Kernel)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda base: ClassifierFree(base, -1.0, 2), r"Expected a finite `gamma` >= 0, got -1\.0\."),
        (lambda base: ClassifierFree(base, math.nan, 2), "finite `gamma` >= 0, got nan"),
        (lambda base: ClassifierFree(base, math.inf, 2), "finite `gamma` >= 0, got inf"),
        (lambda base: ClassifierFree(base, 1.0, -1), r"Expected `null_label` >= 0, got -1\."),
        (lambda base: Temperature(base, 0.0), r"Expected a finite `temperature` > 0, got 0\.0\."),
        (lambda base: Temperature(base, math.inf), "finite `temperature` > 0, got inf"),
        (lambda base: Nucleus(base, 0.0), r"Expected 0 < `p` <= 1, got 0\.0\."),
        (lambda base: Nucleus(base, 1.1), r"Expected 0 < `p` <= 1, got 1\.1\."),
        (lambda base: Nucleus(base, math.nan), "0 < `p` <= 1, got nan"),
    ],
)
def test_construction_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make(denoiser(table(0)))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_guidance_without_labels_says_what_to_do(gamma):
    with pytest.raises(ValueError, match="got None: pass `y=`"):
        ClassifierFree(denoiser(table(0)), gamma, NULL)(XT, T)
