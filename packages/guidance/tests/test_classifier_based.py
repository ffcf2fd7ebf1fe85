import functools
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from discrete_diffusion.guidance.evaluations import CountEvaluations
from discrete_diffusion.guidance.likelihoods import ClassLikelihood, GaussianTarget
from discrete_diffusion.guidance.methods.classifier_based import ClassifierBased
from discrete_diffusion.guidance.methods.first_order import FirstOrder
from discrete_diffusion.guidance.methods.hybrid import Hybrid
from discrete_diffusion.guidance.protocols import Denoiser, Kernel, is_left_to_right
from discrete_diffusion.guidance.strength import Interval, Ramp
from discrete_diffusion.guidance.truncation import Temperature

F64 = torch.float64


class Exact:
    """An Oracle as models and classifier: alpha(t) = 1 - t, tables worked out once for each time."""

    def __init__(self, oracle):
        self.oracle = oracle
        self.bayes_kernel = functools.cache(lambda t, s: oracle.bayes_kernel(1 - t, 1 - s).log())
        self.posterior_mean = functools.cache(lambda t: oracle.denoiser(1 - t).log())
        self.log_classes = functools.cache(lambda t: oracle.classifier(1 - t).log())

    def kernel(self, xt, t, s, *, y=None):
        return self.bayes_kernel(t[0].item(), s[0].item())[self.oracle.index(xt)]

    def denoiser(self, xt, t, *, y=None, at=None):
        log_probs = self.posterior_mean(t[0].item())[self.oracle.index(xt)]
        return log_probs if at is None else log_probs[at]

    def classifier(self, x, t):
        tables = torch.stack([self.log_classes(time) for time in t.tolist()])
        return tables[torch.arange(len(x)), self.oracle.index(x)]

    def model(self, level):
        """The model, and the times of its calls."""
        return (self.kernel, (0.7, 0.4)) if level == "kernel" else (self.denoiser, (0.7,))


@pytest.fixture
def exact(oracle, world):
    def make(noise, length=2):
        if noise == "absorbing":
            return Exact(world(length).oracle)
        return Exact(oracle.random(3, length, torch.ones(3, dtype=F64)))

    return make


def batch(sequences, *times):
    return sequences, *(torch.full((len(sequences),), time, dtype=F64) for time in times)


def by_hand(base, likelihood, gamma, x, times, chosen=None):
    """The formula in plain probabilities, one jump at a time."""
    probs = base(*batch(x, *times)).exp()
    result = torch.zeros_like(probs)
    for row, position, token in itertools.product(*map(range, probs.shape)):
        jumped = x[row : row + 1].clone()
        jumped[0, position] = token
        p = probs[row, position, token]
        if p > 0:
            result[row, position, token] = p * likelihood(*batch(jumped, times[0])).exp()[0] ** gamma
    return result / result.sum(-1, keepdim=True)


@pytest.mark.parametrize("noise", ["absorbing", "uniform"])
@pytest.mark.parametrize("level", ["kernel", "denoiser"])
@pytest.mark.parametrize("gamma", [0, 1, 2.5])
def test_the_formula_by_enumeration(exact, noise, level, gamma):
    world = exact(noise)
    base, times = world.model(level)
    likelihood = ClassLikelihood(world.classifier, 1)
    x = world.oracle.sequences
    guided = ClassifierBased(base, likelihood, gamma)(*batch(x, *times))
    torch.testing.assert_close(guided.exp(), by_hand(base, likelihood, gamma, x, times))
    assert torch.equal(guided == -math.inf, base(*batch(x, *times)) == -math.inf)
    if gamma == 0:
        assert torch.equal(guided, base(*batch(x, *times)))
    else:
        assert (guided.exp() - base(*batch(x, *times)).exp()).abs().max() > 0.05


@pytest.mark.parametrize("noise", ["absorbing", "uniform"])
def test_around_a_kernel_at_gamma_1_it_tends_to_the_conditional_at_first_order(exact, noise):
    world = exact(noise)
    guided = ClassifierBased(world.kernel, ClassLikelihood(world.classifier, 1), 1.0)
    target = world.oracle.conditional_joint(1)

    def error(n):
        distribution = world.oracle.distribution(guided, [1 - i / n for i in range(n)] + [0.0])
        return (distribution - target).abs().sum().item() / 2

    assert (world.oracle.joint - target).abs().sum() / 2 > 0.1
    errors = [error(n) for n in (16, 32, 64)]
    assert errors[-1] < 0.02
    for coarse, fine in itertools.pairwise(errors):
        assert 0.45 < fine / coarse < 0.55


def test_around_an_absorbing_denoiser_at_gamma_1_it_is_the_conditional_denoiser(exact):
    world = exact("absorbing", 3)
    x = world.oracle.sequences
    for label in (0, 1):
        guided = ClassifierBased(world.denoiser, ClassLikelihood(world.classifier, label), 1.0)(*batch(x, 0.7))
        torch.testing.assert_close(guided.exp(), world.oracle.denoiser(0.3, label), atol=1e-12, rtol=0)


def test_around_a_denoiser_the_schedule_alone_decides_when(exact, world):
    w, e = world(2), exact("absorbing")
    likelihood, gamma, mask = ClassLikelihood(e.classifier, 1), 2.5, 3
    x, t, s = batch(w.oracle.sequences, 0.8, 0.6)
    masked = x == mask

    preserving = w.lift(ClassifierBased(w.denoiser, likelihood, gamma))(x, t, s).exp()
    assert torch.equal(preserving[masked][:, mask], w.kernel(x, t, s).exp()[masked][:, mask])

    # Around the kernel a share rho = 1 - s / t of reveals becomes rho A / (rho A + 1 - rho).
    reveals = 1 - ClassifierBased(w.kernel, likelihood, gamma)(x, t, s).exp()[masked][:, mask]
    own = likelihood(x, t).exp()
    for (row, position), found in zip(masked.nonzero().tolist(), reveals, strict=True):
        jumped = x[row].repeat(3, 1)
        jumped[:, position] = torch.arange(3)
        p = w.denoiser(x, t)[row, position, :3].exp()
        tilt = (p * (likelihood(jumped, t[:3]).exp() / own[row]) ** gamma).sum()
        torch.testing.assert_close(found, 0.25 * tilt / (0.25 * tilt + 0.75))
        assert abs(found - 0.25) > 1e-3


def test_three_percent_become_seventy():
    """The docstring's example: a third of the probability triples the likelihood, the rest rules it out."""
    rho, never = 1 / 32, -math.inf
    distribution = torch.tensor([rho / 3, rho / 3, rho / 3, 1 - rho], dtype=F64).log()
    value = torch.tensor([0.0, never, never, math.log(1 / 3)], dtype=F64)
    guided = ClassifierBased(lambda xt, t, s: distribution.expand(1, 1, 4), lambda x, t: value[x[:, 0]], 5)
    reveal = 1 - guided(torch.tensor([[3]]), torch.ones(1), torch.full((1,), 1 - rho)).exp()[0, 0, 3]
    assert reveal.item() == pytest.approx(81 / (81 + 31))


def cost(log_probs, x):
    """Rows that the docstring promises, counted one by one."""
    rows = 0
    for distributions, sequence in zip(log_probs.tolist(), x.tolist(), strict=True):
        itself = False
        for distribution, token in zip(distributions, sequence, strict=True):
            possible = [v for v, p in enumerate(distribution) if p > -math.inf]
            if len(possible) > 1:
                rows += sum(v != token for v in possible)
                itself |= token in possible
        rows += itself
    return rows


@pytest.mark.parametrize("noise", ["absorbing", "uniform"])
@pytest.mark.parametrize("level", ["kernel", "denoiser"])
def test_each_jump_is_evaluated_once_and_few_at_a_time(exact, noise, level):
    world = exact(noise)
    base, times = world.model(level)
    x = world.oracle.sequences
    whole = ClassifierBased(base, ClassLikelihood(world.classifier, 0), 1.5)(*batch(x, *times))
    expected = cost(base(*batch(x, *times)), x)
    assert 0 < expected < x.numel() * world.oracle.vocab_size + len(x)
    for max_rows in (1, 5, expected, 4096):
        sizes, seen = [], set()

        def likelihood(xs, t, sizes=sizes, seen=seen):
            sizes.append(len(xs))
            seen.update(map(tuple, xs.tolist()))
            return ClassLikelihood(world.classifier, 0)(xs, t)

        torch.testing.assert_close(ClassifierBased(base, likelihood, 1.5, max_rows)(*batch(x, *times)), whole)
        assert sum(sizes) == expected
        assert max(sizes) <= max_rows
        assert len(sizes) == math.ceil(expected / max_rows)
    assert len(seen) > len(x) / 2


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (F64, 1e-10)])
@pytest.mark.parametrize("make", [ClassifierBased, functools.partial(Hybrid, exact=300)])
def test_calls_are_limited_by_their_tokens_and_give_the_same_numbers(make, dtype, tolerance):
    length, v, sizes = 300, 3, []
    weight = torch.randn(length, v, dtype=dtype, generator=torch.Generator().manual_seed(0))

    def base(xt, t):
        return weight.log_softmax(-1).expand(len(xt), length, v)

    def likelihood(x, t):
        sizes.append(len(x))
        onehot = torch.nn.functional.one_hot(x, v).to(dtype) if x.ndim == 2 else x
        return torch.nn.functional.logsigmoid((onehot * weight).sum((1, 2)).sin())

    x, t = torch.zeros(2, length, dtype=torch.int64), torch.ones(2, dtype=dtype)
    guided = make(base, likelihood, 2.0)(x, t)
    assert max(sizes) == 2048 // length
    torch.testing.assert_close(guided, make(base, likelihood, 2.0, max_rows=10_000)(x, t), rtol=0, atol=tolerance)


@given(
    epsilon=st.sampled_from([1e-4, 1e-2, 0.1, 0.5, 0.9]),
    gamma=st.floats(0.1, 8.0),
    sharpness=st.floats(0.5, 8.0),
    seed=st.integers(0, 1000),
)
def test_skipped_jumps_cost_at_most_epsilon_in_total_variation(epsilon, gamma, sharpness, seed):
    length, v = 3, 5
    random = torch.Generator().manual_seed(seed)
    table = (sharpness * torch.randn(length, v, v, dtype=F64, generator=random)).log_softmax(-1)
    table[0, :, 2] = -math.inf
    value = torch.nn.functional.logsigmoid(4 * torch.randn(v**length, dtype=F64, generator=random))
    x = torch.randint(v, (6, length), generator=random)

    def base(xt, t):
        return table[torch.arange(length), xt].log_softmax(-1)

    def classifier(x, t):
        return value[(x * v ** torch.arange(length)).sum(1)]

    likelihood = CountEvaluations(classifier)
    exact = by_hand(base, classifier, gamma, x, (0.5,))
    guided = ClassifierBased(base, likelihood, gamma, epsilon=epsilon)(*batch(x, 0.5)).exp()
    assert ((guided - exact).abs().sum(-1) / 2).max() <= epsilon + 1e-12
    assert likelihood.rows <= cost(base(x, None), x)
    torch.testing.assert_close(guided.sum(-1), torch.ones(6, length, dtype=F64))


def test_epsilon_skips_the_tail_and_nothing_that_could_matter():
    """One of the others holds 90 %, and 18 hold 0.5 % each; only the likelihood tells whether they matter."""
    log_probs = torch.tensor([0.01, 0.9] + 18 * [0.005], dtype=F64).log()
    for likely, rows in ((1.0, 2 + 14), (1e-3, 20)):
        likelihood = CountEvaluations(lambda x, t, p=likely: torch.where(x[:, 0] < 2, p, 1.0).to(F64).log())
        guided = ClassifierBased(lambda xt, t: log_probs.expand(1, 1, 20), likelihood, 1.0, epsilon=0.0249)
        result = guided(*batch(torch.tensor([[0]]), 0.5))
        assert likelihood.rows == rows
        assert (result == -math.inf).sum() == 20 - rows


def test_a_fully_masked_pair_and_a_finished_one(exact):
    """Three tokens at each of two positions: six jumps around the denoiser, one row more around the kernel."""
    world = exact("absorbing")
    likelihood = CountEvaluations(ClassLikelihood(world.classifier, 0))
    for level, masked in (("denoiser", 6), ("kernel", 7)):
        base, times = world.model(level)
        guided = ClassifierBased(base, likelihood, 1.0)
        for x, expected in ((torch.tensor([[3, 3]]), masked), (torch.tensor([[0, 2]]), 0)):
            likelihood.reset()
            log_probs = guided(*batch(x, *times))
            assert likelihood.rows == expected
            assert likelihood.calls == (expected > 0)
            if not expected:
                assert torch.equal(log_probs, base(*batch(x, *times)))


@pytest.mark.parametrize("make", [ClassifierBased, FirstOrder, functools.partial(Hybrid, exact=2)])
def test_strength_0_evaluates_no_classifier(exact, make):
    world = exact("absorbing")
    x, t = batch(world.oracle.sequences, 0.7)

    def refuse(x, t):
        raise AssertionError

    for gamma in (0, 0.0, Interval(3.0, 0.0, 0.5)):
        assert torch.equal(make(world.denoiser, refuse, gamma)(x, t), world.denoiser(x, t))


def test_each_row_is_steered_by_its_own_time(exact):
    world = exact("uniform")
    x = world.oracle.sequences
    t = torch.linspace(0.1, 0.9, len(x), dtype=F64)
    likelihood = CountEvaluations(ClassLikelihood(world.classifier, 0))

    def base(xt, t):
        return world.denoiser(xt, torch.full_like(t, 0.7))

    guided = ClassifierBased(base, likelihood, Interval(Ramp(0.0, 2.0), 0.4, 1.0))(x, t)
    steered = t >= 0.4
    assert torch.equal(guided[~steered], base(x, t)[~steered])
    assert likelihood.rows == cost(base(x, t)[steered], x[steered])
    for row in steered.nonzero()[:, 0].tolist():
        one = slice(row, row + 1)
        expected = ClassifierBased(base, likelihood, 2 * (1 - t[row].item()))(x[one], t[one])
        torch.testing.assert_close(guided[one], expected)


@pytest.mark.parametrize("noise", ["absorbing", "uniform"])
def test_at_selects_the_same_rows_and_costs_only_them(exact, noise):
    world = exact(noise)
    x, t = batch(world.oracle.sequences, 0.7)
    at = torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) < 0.4
    likelihood = CountEvaluations(ClassLikelihood(world.classifier, 0))
    guided = ClassifierBased(world.denoiser, likelihood, 2.0)
    whole = guided(x, t)
    everywhere = likelihood.rows
    likelihood.reset()
    torch.testing.assert_close(guided(x, t, at=at), whole[at])
    assert 0 < likelihood.rows < everywhere
    assert guided(x, t, at=torch.zeros_like(at)).shape == (0, world.oracle.vocab_size)


@pytest.mark.parametrize("level", ["kernel", "denoiser"])
def test_no_distribution_is_left_where_every_outcome_is_ruled_out_and_no_nan(exact, level):
    world = exact("uniform")
    base, times = world.model(level)
    x = world.oracle.sequences

    def never(x, t):
        return torch.full((len(x),), -math.inf, dtype=F64)

    assert (ClassifierBased(base, never, 2.0)(*batch(x, *times)) == -math.inf).all()

    def half(x, t):
        return torch.where(x[:, 0] == 1, 0.0, never(x, t))

    guided = ClassifierBased(base, half, 2.0)(*batch(x, *times))
    assert not guided.isnan().any()
    # The first position can be made 1; the second can change nothing about it.
    assert torch.equal(guided[:, 0].exp(), torch.tensor([0.0, 1.0, 0.0], dtype=F64).expand(9, 3))
    assert torch.equal((guided[:, 1] == -math.inf).all(-1), x[:, 0] != 1)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_dtype_follows_the_base(dtype):
    def base(xt, t):
        return torch.zeros(*xt.shape, 4, dtype=dtype).log_softmax(-1)

    def likelihood(x, t):
        return -(x if x.ndim == 2 else x @ torch.arange(4, dtype=x.dtype)).sum(1).to(F64)

    x, t = torch.tensor([[0, 3]]), torch.ones(1)
    for gamma in (2.0, Ramp(0.0, 1.0)):
        for make in (ClassifierBased, FirstOrder, functools.partial(Hybrid, exact=3)):
            assert make(base, likelihood, gamma)(x, t).dtype == dtype


def test_the_parameters_of_a_classifier_get_no_graph(exact):
    world = exact("uniform")
    scale = torch.ones((), dtype=F64, requires_grad=True)
    guided = ClassifierBased(world.denoiser, lambda x, t: scale * x.sum(1), 1.0)
    assert not guided(*batch(world.oracle.sequences, 0.7)).requires_grad


class LeftToRight:
    left_to_right = True

    def __call__(self, xt, t):
        return torch.zeros(*xt.shape, 4)


def two(x, t):
    return torch.zeros(len(x), 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda base: ClassifierBased(base, two, -1.0), r"Expected a finite `gamma` >= 0, got -1\.0\."),
        (lambda base: ClassifierBased(base, two, 1.0, max_rows=0), "Expected `max_rows` >= 1, got 0"),
        (lambda base: ClassifierBased(base, two, 1.0, epsilon=1.0), r"Expected 0 <= `epsilon` < 1, got 1\.0\."),
        (lambda base: ClassifierBased(base, GaussianTarget(two, 0.0), 1, epsilon=0.1), "density GaussianTarget"),
        (
            lambda base: ClassifierBased(base, lambda x, t: t, 1.0, epsilon=0.1)(
                torch.zeros(1, 1, dtype=torch.int64), torch.ones(1)
            ),
            "log-probabilities <= 0.*set `epsilon` to 0",
        ),
        (lambda base: ClassifierBased(LeftToRight(), two, 1.0), "diffusion model under ClassifierBased.*use FUDGE"),
        (lambda base: ClassifierBased(ClassifierBased(base, two, 1), two, math.nan), "finite `gamma`"),
        (lambda base: FirstOrder(base, two, math.inf), "Expected a finite `gamma` >= 0, got inf"),
        (lambda base: FirstOrder(LeftToRight(), two, 1.0), "diffusion model under FirstOrder"),
        (lambda base: Hybrid(base, two, -2, 1), "Expected a finite `gamma` >= 0, got -2"),
        (lambda base: Hybrid(base, two, 1.0, -1), "Expected `exact` >= 0, got -1"),
        (lambda base: Hybrid(base, two, 1.0, 1, 0), "Expected `max_rows` >= 1, got 0"),
        (lambda base: Hybrid(LeftToRight(), two, 1.0, 1), "diffusion model under Hybrid"),
        (
            lambda base: ClassifierBased(base, two, 1.0)(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1)),
            r"return \(3,\), log p\(y \| x_t\).*got \(3, 2\): ClassLikelihood takes one column",
        ),
        (
            lambda base: FirstOrder(base, two, 1.0)(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1)),
            r"return \(1,\), log p\(y \| x_t\).*got \(1, 2\): ClassLikelihood takes one column",
        ),
        (
            lambda base: FirstOrder(base, lambda x, t: t, 1.0)(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1)),
            "differentiable in one-hots",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make(lambda xt, t: torch.zeros(*xt.shape, 3))


def test_left_to_right_is_found_through_wrappers():
    assert is_left_to_right(Temperature(Temperature(LeftToRight(), 0.5), 2.0))
    assert not is_left_to_right(Temperature(Temperature(lambda xt, t: xt, 0.5), 2.0))


def test_they_are_denoisers_and_kernels(exact):
    world = exact("uniform")
    likelihood = ClassLikelihood(world.classifier, 0)
    for guided in (ClassifierBased(world.kernel, likelihood, 1), FirstOrder(world.kernel, likelihood, 1)):
        assert isinstance(guided, Denoiser)
        assert isinstance(guided, Kernel)
