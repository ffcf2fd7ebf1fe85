import functools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from discrete_diffusion.guidance import Causal, Latent
from discrete_diffusion.guidance.evaluations import CountEvaluations
from discrete_diffusion.guidance.methods.classifier_based import ClassifierBased
from discrete_diffusion.guidance.methods.classifier_free import ClassifierFree
from discrete_diffusion.guidance.methods.trust_region import TrustRegion
from discrete_diffusion.guidance.truncation import Nucleus, Temperature

B, L, V = 4, 3, 5
F64 = torch.float64
XT = torch.randint(V, (B, L), generator=torch.Generator().manual_seed(0))
T, S = torch.linspace(0.9, 0.3, B, dtype=F64), torch.linspace(0.2, 0.1, B, dtype=F64)


def table(seed, zeros=0.0, dtype=F64):
    """A random distribution (b, l, v), one outcome of each at least possible."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(B, L, V, dtype=F64, generator=generator)
    impossible = torch.rand(B, L, V, dtype=F64, generator=generator) < zeros
    impossible[..., 0] = False
    return logits.masked_fill(impossible, -math.inf).log_softmax(-1).to(dtype)


def model(log_probs):
    def call(xt, *times, y=None, at=None):
        return log_probs if at is None else log_probs[at]

    return call


def towards(log_probs):
    """Guidance that ends at a distribution of its own."""
    return lambda base: model(log_probs)


def divergence(q, p):
    """KL(q || p) of each sequence in plain probabilities."""
    q, p = q.double().exp(), p.double().exp()
    return torch.where(q > 0, q * (q / p).log(), 0.0).sum((-1, -2))


def tempered(p, q, weight):
    distribution = p.exp() ** (1 - weight) * q.exp() ** weight
    return distribution / distribution.sum(-1, keepdim=True)


@given(seed=st.integers(0, 200), max_kl=st.floats(0.0, 8.0), zeros=st.sampled_from([0.0, 0.3]))
def test_the_bound_holds_and_what_it_allows_is_used(seed, max_kl, zeros):
    p = table(seed, zeros)
    q = table(seed + 1000).masked_fill(p == -math.inf, -math.inf).log_softmax(-1)
    q = q.masked_fill(p == -math.inf, -math.inf)
    step = TrustRegion(model(p), towards(q), max_kl)(XT, T)
    reached, whole = divergence(step, p), divergence(q, p)
    assert (reached <= max_kl * (1 + 1e-6) + 1e-15).all()
    inside = whole <= max_kl
    assert torch.equal(step[inside], q[inside])
    # Where the bound binds it is met: the largest lambda, not just one that fits.
    torch.testing.assert_close(reached[~inside], torch.full_like(reached[~inside], max_kl), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("weight", [0.1, 0.5, 0.9])
def test_the_step_lies_on_the_geometric_path(weight):
    """A bound that is the divergence at lambda leads back to that lambda, each sequence by itself."""
    p, q = table(1), table(2)
    target = tempered(p, q, weight)
    for row, bound in enumerate(divergence(target.log(), p).tolist()):
        step = TrustRegion(model(p), towards(q), bound)(XT, T)
        torch.testing.assert_close(step[row].exp(), target[row], rtol=1e-6, atol=1e-8)


def test_no_bound_is_the_guided_model_and_a_bound_of_0_the_base():
    p, q = table(3), table(4)
    assert torch.equal(TrustRegion(model(p), towards(q), 0)(XT, T), p)
    assert torch.equal(TrustRegion(model(p), towards(q), math.inf)(XT, T), q)
    # Guidance that changes nothing stays within any bound.
    assert torch.equal(TrustRegion(model(p), towards(p), 1e-300)(XT, T), p)


def test_the_divergence_grows_with_the_bound():
    p, q = table(5), table(6)
    reached = torch.stack(
        [divergence(TrustRegion(model(p), towards(q), bound)(XT, T), p) for bound in torch.arange(0, 12, 0.5).tolist()]
    )
    assert (reached.diff(dim=0) >= 0).all()
    assert (reached[-1] > reached[0]).all()


@pytest.mark.parametrize("at_seed", [0, 1, 2])
def test_at_sums_over_the_selected_positions(at_seed):
    p, q, bound = table(7), table(8), 1.0
    at = torch.rand(B, L, generator=torch.Generator().manual_seed(at_seed)) < 0.5
    step = TrustRegion(model(p), towards(q), bound)(XT, T, at=at)
    # The same with the other positions left unguided.
    expected = TrustRegion(model(p), towards(q.where(at[..., None], p)), bound)(XT, T)[at]
    torch.testing.assert_close(step, expected)
    assert TrustRegion(model(p), towards(q), bound)(XT, T, at=torch.zeros_like(at)).shape == (0, V)


@pytest.mark.parametrize(
    ("max_kl", "expected"),
    [
        # Half of p is forbidden: log 2 is the price of that alone.
        (math.log(2) - 1e-3, [0.25, 0.25, 0.25, 0.25]),
        (math.log(2) + 1e-9, [0.5, 0.5, 0, 0]),
        (10.0, [0.9, 0.1, 0, 0]),
    ],
)
def test_what_guidance_forbids_is_forbidden_within_the_bound_only(max_kl, expected):
    p = torch.full((1, 1, 4), 0.25, dtype=F64).log()
    q = torch.tensor([[[0.9, 0.1, 0.0, 0.0]]], dtype=F64).log()
    step = TrustRegion(model(p), towards(q), max_kl)(XT[:1, :1], T[:1])
    torch.testing.assert_close(step[0, 0].exp(), torch.tensor(expected, dtype=F64), atol=1e-3, rtol=0)
    assert torch.equal(step[0, 0] == -math.inf, torch.tensor(expected) == 0)


def test_what_the_base_forbids_stays_so_and_no_nan_is_made():
    p = torch.tensor([0.5, 0.5, 0.0], dtype=F64).log().expand(2, 1, 3)
    beyond, nothing = torch.tensor([0.2, 0.2, 0.6], dtype=F64).log(), torch.full((3,), -math.inf, dtype=F64)
    disjoint = torch.tensor([0.0, 0.0, 1.0], dtype=F64).log()
    x, t = XT[:2, :1], T[:2]
    for max_kl in (0.0, 0.1, math.inf):
        # Of what lies beyond the base, the part within it counts.
        step = TrustRegion(model(p), towards(beyond.expand(2, 1, 3)), max_kl)(x, t)
        torch.testing.assert_close(step, p)
    for q in (nothing, disjoint):
        # Nothing in common: no bound allows it, and without one there is no distribution.
        assert torch.equal(TrustRegion(model(p), towards(q.expand(2, 1, 3)), 5.0)(x, t), p)
        assert (TrustRegion(model(p), towards(q.expand(2, 1, 3)), math.inf)(x, t) == -math.inf).all()


@pytest.mark.parametrize("level", ["kernel", "denoiser"])
def test_around_classifier_based_guidance_the_base_is_evaluated_once(world, level):
    w = world(2)
    classes = w.oracle.classifier(0.3).log()
    likelihood = lambda x, t: classes[w.oracle.index(x), 1]  # noqa: E731
    base = CountEvaluations(getattr(w, level))
    x = w.oracle.sequences
    times = (torch.full((len(x),), 0.7, dtype=F64), torch.full((len(x),), 0.4, dtype=F64))[: 2 - (level == "denoiser")]
    guidance = functools.partial(ClassifierBased, likelihood=likelihood, gamma=4.0)
    for y in (None, torch.ones(len(x), dtype=torch.int64)):
        for at in (None,) if level == "kernel" else (None, x == 3):
            base.reset()
            keywords = {} if at is None else {"at": at}
            bounded = TrustRegion(base, guidance, 0.2)(x, *times, y=y, **keywords)
            assert (base.calls, base.rows) == (1, len(x))
            if at is None:
                p, q = base.network(x, *times, y=y), guidance(base.network)(x, *times, y=y)
                reached, whole = divergence(bounded, p), divergence(q, p)
                assert (whole > 0.2).any()
                assert (whole < 0.2).any()
                torch.testing.assert_close(reached, whole.clamp(max=0.2), rtol=1e-6, atol=1e-9)


def test_other_arguments_are_other_calls():
    distributions = torch.stack([table(9), table(10)])

    def conditional(xt, t, *, y):
        return distributions[y, torch.arange(len(xt)) % B]

    base = CountEvaluations(conditional)
    y = torch.zeros(B, dtype=torch.int64)
    guided = TrustRegion(base, functools.partial(ClassifierFree, gamma=3.0, null_label=1), math.inf)(XT, T, y=y)
    torch.testing.assert_close(guided, ClassifierFree(conditional, 3.0, 1)(XT, T, y=y))
    assert (base.calls, base.rows) == (2, 3 * B)


def test_the_remembered_base_has_the_capabilities_of_the_base():
    class Opened:
        def __call__(self, xt, t, *, y=None, at=None):
            return table(11)

        def encode(self, xt, t, *, y=None):
            return "hidden"

        def decode(self, hidden, xt, t, *, y=None, at=None):
            return table(11)

    def guidance(base):
        assert isinstance(base, Latent)
        assert not isinstance(base, Causal)
        assert base.encode(XT, T) == "hidden"
        return Temperature(base, 0.5)

    guided = TrustRegion(Opened(), guidance, math.inf)(XT, T)
    torch.testing.assert_close(guided, Temperature(model(table(11)), 0.5)(XT, T))


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-4), (torch.bfloat16, 0.2)])
def test_dtype_follows_the_base(dtype, rtol):
    p, q = table(12, dtype=dtype), table(13, dtype=dtype)
    step = TrustRegion(model(p), towards(q), 0.5)(XT, T)
    assert step.dtype == dtype
    assert (divergence(step.float().log_softmax(-1), p.float().log_softmax(-1)) < 0.5 * (1 + rtol)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrustRegion(model(table(0)), towards(table(1)), -1.0), r"Expected `max_kl` >= 0, got -1\.0\."),
        (lambda: TrustRegion(model(table(0)), towards(table(1)), math.nan), "`max_kl` >= 0, got nan"),
        (lambda: TrustRegion(model(table(0)), lambda base: Nucleus(base, 2.0), 1.0), "0 < `p` <= 1"),
    ],
)
def test_errors_at_construction(make, message):
    with pytest.raises(ValueError, match=message):
        make()
