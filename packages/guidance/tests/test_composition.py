"""Several conditions at once, by nesting."""

import functools
import itertools
import math

import pytest
import torch

from discrete_diffusion.guidance.evaluations import CountEvaluations
from discrete_diffusion.guidance.likelihoods import ClassLikelihood, Not
from discrete_diffusion.guidance.methods.classifier_based import ClassifierBased
from discrete_diffusion.guidance.methods.classifier_free import ClassifierFree
from discrete_diffusion.guidance.methods.first_order import FirstOrder
from discrete_diffusion.guidance.methods.trust_region import TrustRegion
from discrete_diffusion.guidance.truncation import Nucleus, Temperature

F64 = torch.float64
NULL, MASK = 2, 3


def classifier(oracle):
    """The exact log p(y | x_t), alpha(t) = 1 - t."""
    table = functools.cache(lambda t: oracle.classifier(1 - t).log())

    def call(x, t):
        return torch.stack([table(time) for time in t.tolist()])[torch.arange(len(x)), oracle.index(x)]

    return call


def kernel(oracle):
    """The exact log p(x_s | x_t)."""
    table = functools.cache(lambda t, s: oracle.bayes_kernel(1 - t, 1 - s).log())
    return lambda xt, t, s: table(t[0].item(), s[0].item())[oracle.index(xt)]


def relabelled(oracle, other, joint=None):
    """The same world with other labels, or with another distribution of the data."""
    shape = (oracle.vocab_size,) * oracle.length
    joint = oracle.joint if joint is None else joint
    return type(oracle)(joint.reshape(shape), oracle.noise, other.reshape(*shape, -1))


def labels(oracle, seed, classes=2):
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(len(oracle.sequences), classes, dtype=F64, generator=generator)).softmax(-1)


def tilted(base, *tilts):
    """p L_1^gamma_1 L_2^gamma_2 ..., normalized, by one jump after another in plain probabilities."""

    def call(x, t, *rest, **keywords):
        p = base(x, t, *rest, **keywords).exp()
        for row, position, token in itertools.product(*map(range, p.shape)):
            jumped = x[row : row + 1].clone()
            jumped[0, position] = token
            for likelihood, gamma in tilts:
                p[row, position, token] *= likelihood(jumped, t[row : row + 1]).exp()[0] ** gamma
        return p / p.sum(-1, keepdim=True)

    return call


def distance(p, q):
    return (p - q).abs().sum().item() / 2


def errors(oracle, model, target):
    """Total variation between what the model samples in 16, 32 and 64 steps and the target."""
    grids = ([1 - i / n for i in range(n)] + [0.0] for n in (16, 32, 64))
    return [distance(oracle.distribution(model, grid), target) for grid in grids]


@pytest.fixture
def inputs(world):
    """Sequences, times and labels to ask a model at, at each level."""
    x = world(2).oracle.sequences
    t, s = torch.full((len(x),), 0.7, dtype=F64), torch.full((len(x),), 0.4, dtype=F64)
    return {"denoiser": (x, t), "kernel": (x, t, s)}, torch.arange(len(x)) % 2


levels = pytest.mark.parametrize("level", ["denoiser", "kernel"])


@levels
def test_nested_classifiers_multiply_in_any_order(world, inputs, level):
    w = world(2)
    base, x = getattr(w, level), inputs[0][level]
    one = ClassLikelihood(classifier(w.oracle), 1)
    two = ClassLikelihood(classifier(relabelled(w.oracle, labels(w.oracle, 1))), 0)
    expected = tilted(base, (one, 2.0), (two, 0.5))(*x)
    inward = ClassifierBased(ClassifierBased(base, one, 2.0), two, 0.5)(*x)
    outward = ClassifierBased(ClassifierBased(base, two, 0.5), one, 2.0)(*x)
    torch.testing.assert_close(inward.exp(), expected)
    torch.testing.assert_close(outward.exp(), expected)
    # One likelihood that is the sum of logarithms asks its classifiers the same.
    both = ClassifierBased(base, lambda x, t: 2.0 * one(x, t) + 0.5 * two(x, t), 1.0)(*x)
    torch.testing.assert_close(both.exp(), expected)


@levels
def test_classifier_free_around_and_within_classifier_based(world, inputs, level):
    w = world(2)
    base, x, y = getattr(w, level), inputs[0][level], inputs[1]
    likelihood = ClassLikelihood(classifier(relabelled(w.oracle, labels(w.oracle, 2))), 1)
    free, based = 3.0, 1.5
    p = base(*x, y=y).exp() ** free * base(*x).exp() ** (1 - free)
    p = torch.where(base(*x) > -math.inf, p, 0.0)
    expected = tilted(lambda *_: (p / p.sum(-1, keepdim=True)).log(), (likelihood, based))(*x)

    counted = CountEvaluations(likelihood)
    within = ClassifierBased(ClassifierFree(base, free, NULL), counted, based)(*x, y=y)
    rows = counted.rows
    counted.reset()
    around = ClassifierFree(ClassifierBased(base, counted, based), free, NULL)(*x, y=y)
    torch.testing.assert_close(within.exp(), expected)
    # A classifier that ignores y tilts both passes alike: the same distribution at twice the cost of the classifier.
    torch.testing.assert_close(around.exp(), expected)
    assert 0 < 2 * rows == counted.rows


@levels
def test_a_negative_condition(world, inputs, level):
    w = world(2)
    base, x = getattr(w, level), inputs[0][level]
    three = relabelled(w.oracle, labels(w.oracle, 3, classes=3))
    unwanted = ClassLikelihood(classifier(three), 0)
    guided = ClassifierBased(base, Not(unwanted), 2.0)(*x)
    table = (1 - three.classifier(0.3)[:, 0]).log()
    expected = tilted(base, (lambda x, t: table[w.oracle.index(x)], 2.0))(*x)
    torch.testing.assert_close(guided.exp(), expected)
    # The other of two classes is what is left without the first.
    two = classifier(w.oracle)
    torch.testing.assert_close(
        ClassifierBased(base, Not(ClassLikelihood(two, 0)), 2.0)(*x),
        ClassifierBased(base, ClassLikelihood(two, 1), 2.0)(*x),
    )


def test_two_conditions_at_gamma_1_around_an_absorbing_denoiser_are_exact(world, inputs):
    """p(x_0 | x_t, y_2 = 1 and not y_1 = 0): the second classifier is that of the world that the first has made."""
    w, (x, t) = world(2), inputs[0]["denoiser"]
    first = labels(w.oracle, 4, classes=3)
    without = w.oracle.joint * (1 - first[:, 0])
    second = relabelled(w.oracle, labels(w.oracle, 5), without)
    guided = ClassifierBased(
        ClassifierBased(w.denoiser, Not(ClassLikelihood(classifier(relabelled(w.oracle, first)), 0)), 1.0),
        ClassLikelihood(classifier(second), 1),
        1.0,
    )
    torch.testing.assert_close(guided(x, t).exp(), second.denoiser(0.3, 1), atol=1e-12, rtol=0)


def build(world, oracle, noise):
    return world(2).oracle if noise == "absorbing" else oracle.random(3, 2, torch.ones(3, dtype=F64))


@pytest.mark.parametrize("noise", ["absorbing", "uniform"])
def test_two_conditions_that_are_independent_given_what_is_seen_tend_to_both(world, oracle, noise):
    """A label of the first token and one of the second, of tokens that are independent themselves."""
    w = build(world, oracle, noise)
    v = w.vocab_size
    marginals = w.joint.reshape(v, v).sum(1), w.joint.reshape(v, v).sum(0)
    w = relabelled(w, w.likelihood, torch.outer(*marginals))
    each = [
        torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.5, 0.5]], dtype=F64)[:v][w.sequences[:, i]] for i in (0, 1)
    ]
    one, two = (ClassLikelihood(classifier(relabelled(w, table)), y) for table, y in zip(each, (1, 0), strict=True))
    target = w.joint * each[0][:, 1] * each[1][:, 0]
    found = errors(w, ClassifierBased(ClassifierBased(kernel(w), one, 1.0), two, 1.0), target / target.sum())
    assert distance(w.joint, target / target.sum()) > 0.2
    if noise == "absorbing":
        # Nothing ties one position to the other: exact in any number of steps.
        assert max(found) < 1e-12
        return
    assert found[-1] < 0.02
    for coarse, fine in itertools.pairwise(found):
        assert 0.45 < fine / coarse < 0.55


@pytest.mark.parametrize("noise", ["absorbing", "uniform"])
def test_two_conditions_tend_to_both_where_the_second_knows_of_the_first(world, oracle, noise):
    """p(y_1, y_2 | x_t) = p(y_1 | x_t) p(y_2 | x_t, y_1), whatever the labels, which only x_0 makes independent."""
    w = build(world, oracle, noise)
    other = labels(w, 6)
    target = w.conditional_joint(1) * other[:, 0]
    target = target / target.sum()
    one = ClassLikelihood(classifier(w), 1)
    informed = ClassLikelihood(classifier(relabelled(w, other, w.conditional_joint(1))), 0)
    ignorant = ClassLikelihood(classifier(relabelled(w, other)), 0)

    found = errors(w, ClassifierBased(ClassifierBased(kernel(w), one, 1.0), informed, 1.0), target)
    assert found[-1] < 0.02
    for coarse, fine in itertools.pairwise(found):
        assert 0.45 < fine / coarse < 0.55

    # Two classifiers that ignore each other are an approximation that no number of steps makes exact: noise ties
    # labels together that the data leaves apart. What is left at infinitely many steps, where errors halve:
    apart = errors(w, ClassifierBased(ClassifierBased(kernel(w), one, 1.0), ignorant, 1.0), target)
    assert abs(2 * found[-1] - found[-2]) < 0.002
    assert 2 * apart[-1] - apart[-2] > 0.01


@levels
def test_every_wrapper_goes_around_and_within_every_other(world, inputs, level):
    w = world(2)
    x, y = inputs[0][level], inputs[1]
    one = ClassLikelihood(classifier(w.oracle), 1)

    def soft(x, t):
        onehot = torch.nn.functional.one_hot(x, 4).to(F64) if x.ndim == 2 else x
        return -(onehot @ torch.arange(4, dtype=F64)).sum(1)

    wrappers = [
        functools.partial(ClassifierFree, gamma=2.0, null_label=NULL),
        functools.partial(ClassifierBased, likelihood=one, gamma=2.0),
        functools.partial(FirstOrder, likelihood=soft, gamma=0.5),
        functools.partial(Temperature, temperature=0.8),
        functools.partial(Nucleus, p=0.95),
    ]
    wrappers.append(functools.partial(TrustRegion, guidance=wrappers[1], max_kl=0.1))
    base = getattr(w, level)
    for inner, outer in itertools.permutations(wrappers, 2):
        log_probs = outer(base=inner(base=base))(*x, y=y)
        torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(x[0].shape, dtype=F64))
        assert (log_probs[base(*x, y=y) == -math.inf] == -math.inf).all()
