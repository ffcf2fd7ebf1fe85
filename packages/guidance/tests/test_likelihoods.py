import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from discrete_diffusion.guidance.likelihoods import ClassLikelihood, GaussianAbove, GaussianBetween, GaussianTarget, Not

T = torch.tensor([0.3, 0.6], dtype=torch.float64)
X = torch.tensor([[0, 1, 1], [2, 0, 1]])


def constant(*rows, dtype=torch.float64):
    """A classifier or regressor that knows its answer."""
    return lambda x, t: torch.tensor(rows, dtype=dtype)


def test_the_label_is_a_column_whatever_x_is():
    probs = torch.tensor([[0.2, 0.3, 0.5], [0.1, 0.6, 0.3]], dtype=torch.float64)
    for x in (X, torch.nn.functional.one_hot(X, 3).double(), torch.zeros(2, 3, 7)):
        seen = []
        likelihood = ClassLikelihood(lambda x, t, seen=seen: (seen.append((x, t)), probs.log())[1], 2)
        torch.testing.assert_close(likelihood(x, T), probs[:, 2].log())
        assert seen[0][0] is x
        assert seen[0][1] is T


def test_not_a_class_is_the_sum_of_the_others_where_one_minus_p_is_lost():
    # In float32 log p of the first class is exactly 0, and of 1 - p nothing is left.
    logits = torch.tensor([[0.0, -30.0, -31.0], [-40.0, 0.0, 0.0]])
    classifier = lambda x, t: logits.log_softmax(-1)  # noqa: E731
    first = ClassLikelihood(classifier, 0)
    assert first(X, T.float())[0] == 0
    expected = logits.double().log_softmax(-1)[:, 1:].logsumexp(-1)
    torch.testing.assert_close(Not(first)(X, T.float()), expected.float())
    assert torch.equal(Not(Not(first))(X, T.float()), first(X, T.float()))


def test_not_the_only_class_is_impossible():
    assert Not(ClassLikelihood(constant([0.0], [0.0]), 0))(X, T).tolist() == [-math.inf] * 2


@given(log_p=st.one_of(st.floats(-700, -1e-12), st.sampled_from([-1e-300, -math.log(2), -5e-17])))
def test_not_of_any_likelihood_is_accurate_at_both_ends(log_p):
    value = Not(lambda x, t: torch.tensor([log_p, log_p], dtype=torch.float64))(X, T)[0].item()
    # log1p and expm1 of the standard library, in whichever of the two forms does not cancel.
    expected = math.log1p(-math.exp(log_p)) if log_p < -0.5 else math.log(-math.expm1(log_p))
    assert value == pytest.approx(expected, rel=1e-12, abs=1e-300)


def test_not_of_the_certain_and_the_impossible():
    log_p = torch.tensor([0.0, -math.inf], dtype=torch.float64)
    assert Not(lambda x, t: log_p)(X, T).tolist() == [-math.inf, 0.0]


@pytest.mark.parametrize("value", [-30.0, -1.0, -0.1, -1e-4])
def test_the_gradient_of_not_is_finite_and_right(value):
    log_p = torch.tensor([value, -50.0], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(Not(lambda x, t: log_p)(X, T).sum(), log_p)
    torch.testing.assert_close(gradient, -1 / torch.expm1(-log_p.detach()))


@given(mean=st.floats(-3, 3), log_std=st.floats(-2, 2), value=st.floats(-3, 3))
def test_gaussians_are_the_textbooks(mean, log_std, value):
    regressor = constant([mean, log_std], [mean, log_std])
    mean, log_std, at = torch.tensor([mean, log_std, value], dtype=torch.float64)
    normal = torch.distributions.Normal(mean, log_std.exp())
    torch.testing.assert_close(GaussianTarget(regressor, value)(X, T), normal.log_prob(at).expand(2))
    below = GaussianAbove(regressor, value, below=True)(X, T)
    above = GaussianAbove(regressor, value)(X, T)
    torch.testing.assert_close(below.exp(), normal.cdf(at).expand(2))
    torch.testing.assert_close(below.exp() + above.exp(), torch.ones_like(T))
    for sides in ((True, False), (False, True)):
        negated = Not(GaussianAbove(regressor, value, below=sides[0]))(X, T)
        assert torch.equal(negated, GaussianAbove(regressor, value, below=sides[1])(X, T))


@given(mean=st.floats(-3, 3), log_std=st.floats(-2, 2), low=st.floats(-3, 3), width=st.floats(0.01, 5))
def test_a_range_is_the_difference_of_two_thresholds(mean, log_std, low, width):
    regressor = constant([mean, log_std], [mean, log_std])
    ends = torch.tensor([low, low + width], dtype=torch.float64)
    between = GaussianBetween(regressor, low, low + width)
    cdf = [1 - GaussianAbove(regressor, end)(X, T).exp() for end in ends.tolist()]
    torch.testing.assert_close(between(X, T).exp(), cdf[1] - cdf[0], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(between(X, T).exp() + Not(between)(X, T).exp(), torch.ones_like(T))


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_far_range_has_a_finite_likelihood_and_gradient(side, dtype):
    # 100 standard deviations away, the nearer end decides: P(100 < z < 101) = P(z > 100) (1 - O(e^-100)).
    mean = torch.zeros(2, dtype=dtype, requires_grad=True)
    low, high = sorted((100.0 * side, 101.0 * side))
    value = GaussianBetween(lambda x, t: torch.stack([mean, torch.zeros_like(mean)], 1), low, high)(X, T.to(dtype))
    nearer = GaussianAbove(constant([0.0, 0.0], [0.0, 0.0], dtype=dtype), 100.0 * side, below=side < 0)
    torch.testing.assert_close(value, nearer(X, T.to(dtype)))
    (gradient,) = torch.autograd.grad(value.sum(), mean)
    torch.testing.assert_close(gradient, torch.full_like(mean, 100.01 * side), rtol=1e-3, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_tails_are_finite(dtype):
    # log Phi(-z) = -z^2 / 2 - log(z sqrt(2 pi)) + O(z^-2), where Phi(-z) itself is 0 in any precision.
    z = 100.0
    likelihood = GaussianAbove(constant([0.0, math.log(2)], [0.0, math.log(2)], dtype=dtype), 2 * z)
    expected = -(z**2) / 2 - math.log(z * math.sqrt(2 * math.pi))
    value = likelihood(X, T.to(dtype))
    assert value.dtype == dtype
    torch.testing.assert_close(value, torch.full_like(value, expected), rtol=1e-6, atol=2e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClassLikelihood(constant([0.0]), -1), "Expected `label` >= 0, got -1"),
        (lambda: GaussianTarget(constant([0.0]), math.nan), "finite `value`, got nan"),
        (lambda: GaussianAbove(constant([0.0]), math.inf), "finite `threshold`, got inf"),
        (lambda: GaussianBetween(constant([0.0]), 1.0, 1.0), "finite `low` < `high`, got 1.0 and 1.0"),
        (lambda: GaussianBetween(constant([0.0]), 0.0, math.nan), "finite `low` < `high`, got 0.0 and nan"),
        (lambda: Not(GaussianTarget(constant([0.0]), 1.0)), "density GaussianTarget: use GaussianAbove"),
        (lambda: ClassLikelihood(constant([0.0], [0.0]), 1)(X, T), r"more than `label` = 1 classes, got \(2, 1\)"),
        (lambda: ClassLikelihood(constant(0.0, 0.0), 0)(X, T), r"return \(b, classes\).*got \(2,\)"),
        (lambda: GaussianTarget(constant([0.0], [0.0]), 1.0)(X, T), r"mean and log std, got \(2, 1\)"),
        (lambda: GaussianAbove(constant([0.0] * 3, [0.0] * 3), 1.0)(X, T), r"mean and log std, got \(2, 3\)"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
