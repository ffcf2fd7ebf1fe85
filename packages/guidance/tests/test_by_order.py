"""Order-based decoding of masks, held to the enumeration of every path."""

import itertools
import math

import pytest
import torch

from discrete_diffusion.guidance import (
    ClassifierFree,
    CountEvaluations,
    EntropyBound,
    HighestConfidence,
    LargestMargin,
    LowestEntropy,
    RandomOrder,
    State,
    Temperature,
    by_order,
    last,
    order_log_likelihood,
)

MASK, LENGTH = 3, 3
DETERMINISTIC = [
    HighestConfidence(),
    HighestConfidence(2),
    HighestConfidence(threshold=0.6),
    LargestMargin(),
    LowestEntropy(2),
    EntropyBound(0.0),
    EntropyBound(0.7),
    EntropyBound(100.0),
]
CHI_SQUARE = 54.05  # 99.9th percentile with 26 degrees of freedom


class Table:
    """A denoiser of random conditionals that fit no joint distribution, so that the order of revealing matters."""

    def __init__(self, seed=0, scale=2.0):
        generator = torch.Generator().manual_seed(seed)
        logits = scale * torch.randn((MASK + 1,) * LENGTH + (LENGTH, MASK + 1), generator=generator).double()
        logits[..., MASK] = -math.inf
        self.table = logits.log_softmax(-1)

    def __call__(self, xt, t, *, y=None, at=None):
        log_probs = self.table[tuple(xt.T)]
        return log_probs if at is None else log_probs[at]


def exact(table, order):
    """The probability of every sequence, by following the rule along every path from the all-masked sequence."""
    probabilities = torch.zeros((MASK,) * LENGTH, dtype=torch.float64)

    def walk(x, weight):
        masked = [i for i, token in enumerate(x) if token == MASK]
        if not masked:
            probabilities[x] += weight
            return
        rows = table[x][masked]
        chosen = order(rows, torch.tensor([[token == MASK for token in x]])).nonzero()[:, 1].tolist()
        for tokens in itertools.product(range(MASK), repeat=len(chosen)):
            after, p = list(x), weight
            for position, token in zip(chosen, tokens, strict=True):
                p *= table[x][position, token].exp().item()
                after[position] = token
            walk(tuple(after), p)

    walk((MASK,) * LENGTH, 1.0)
    return probabilities.flatten()


def all_orders(table):
    """The mean over the L! orders of the product of conditionals."""
    probabilities = torch.zeros((MASK,) * LENGTH, dtype=torch.float64)
    for sequence in itertools.product(range(MASK), repeat=LENGTH):
        for order in itertools.permutations(range(LENGTH)):
            x, p = [MASK] * LENGTH, 1.0
            for position in order:
                p *= table[tuple(x)][position, sequence[position]].exp().item()
                x[position] = sequence[position]
            probabilities[sequence] += p / math.factorial(LENGTH)
    return probabilities.flatten()


def statistic(x, probabilities):
    counts = (x * torch.tensor([9, 3, 1])).sum(-1).bincount(minlength=27).double()
    expected = len(x) * probabilities
    return ((counts - expected) ** 2 / expected).sum().item()


def masks(b):
    return torch.full((b, LENGTH), MASK)


@pytest.mark.parametrize("order", DETERMINISTIC, ids=repr)
def test_samples_have_the_enumerated_distribution(order, generator):
    denoiser = Table()
    x = last(by_order(denoiser, masks(6000), order, mask_id=MASK, generator=generator))
    assert statistic(x, exact(denoiser.table, order)) < CHI_SQUARE


def test_random_order_averages_over_all_orders(generator):
    denoiser = Table(seed=1)
    x = last(by_order(denoiser, masks(6000), RandomOrder(), mask_id=MASK, generator=generator))
    expected = all_orders(denoiser.table)
    assert statistic(x, expected) < CHI_SQUARE
    assert (exact(denoiser.table, HighestConfidence()) - expected).abs().sum() > 0.1


@pytest.mark.parametrize("order", DETERMINISTIC, ids=repr)
def test_the_likelihood_is_exact_and_sums_to_one(order):
    denoiser = Table(seed=2)
    sequences = torch.tensor(list(itertools.product(range(MASK), repeat=LENGTH)))
    likelihood = order_log_likelihood(denoiser, sequences, order, mask_id=MASK).exp()
    assert likelihood.sum().item() == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(likelihood, exact(denoiser.table, order))


def test_any_order_of_exact_conditionals_is_exact(world):
    w = world(3)
    sequences = w.oracle.sequences[(w.oracle.sequences != MASK).all(1)]
    joint = w.oracle.joint[w.oracle.index(sequences)]
    for order in (HighestConfidence(), LargestMargin(), LowestEntropy(), EntropyBound(0.0)):
        likelihood = order_log_likelihood(w.denoiser, sequences, order, mask_id=MASK).exp()
        torch.testing.assert_close(likelihood, joint)


def test_the_likelihood_under_labels_and_guidance(world):
    w = world(2)
    sequences = w.oracle.sequences[(w.oracle.sequences != MASK).all(1)]
    guided = ClassifierFree(w.denoiser, 2.0, 2)
    y = torch.ones(len(sequences), dtype=torch.int64)
    likelihood = order_log_likelihood(guided, sequences, LowestEntropy(), mask_id=MASK, y=y).exp()
    assert likelihood.sum().item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("order", [*DETERMINISTIC, RandomOrder(), RandomOrder(2)], ids=repr)
@pytest.mark.parametrize("b", [1, 2, 7])
def test_revealed_and_clamped_tokens_stay_and_no_mask_is_left(order, b, generator):
    clamp = torch.full((b, LENGTH), -1)
    clamp[0, 1] = 2
    start = masks(b)
    states = list(by_order(Table(), start, order, mask_id=MASK, clamp=clamp, generator=generator))
    for before, after in itertools.pairwise(states):
        kept = before.x != MASK
        assert torch.equal(after.x[kept], before.x[kept])
        assert after.t < before.t
    assert all(state.x[0, 1] == 2 for state in states)
    assert (states[-1].x != MASK).all()
    assert states[-1].t == 0
    assert (start == MASK).all()
    assert isinstance(states[0], State)


def test_finished_rows_are_not_evaluated(generator):
    network = CountEvaluations(Table())
    start = torch.tensor([[0, 1, 2], [MASK, 1, 2], [MASK, MASK, MASK]])
    last(by_order(network, start, HighestConfidence(), mask_id=MASK, generator=generator))
    assert (network.calls, network.rows) == (3, 4)
    network.reset()
    assert torch.equal(last(by_order(network, start[:1], HighestConfidence(), mask_id=MASK)), start[:1])
    assert network.calls == 0


def test_equal_scores_are_taken_apart_from_each_other_and_the_middle_first():
    rows = torch.full((7, 4), 0.25).log()
    masked = torch.ones(1, 7, dtype=torch.bool)
    for order in (HighestConfidence, LargestMargin, LowestEntropy):
        assert [set(order(k)(rows, masked).nonzero()[:, 1].tolist()) for k in (1, 2, 3)] == [{3}, {1, 3}, {1, 3, 5}]
    assert EntropyBound(0.0)(rows, masked).nonzero()[:, 1].tolist() == [3]
    masked[0, 3] = False
    assert HighestConfidence(2)(rows[:6], masked).nonzero()[:, 1].tolist() == [1, 5]


def test_the_entropy_bound_reveals_the_largest_admissible_set():
    probabilities = torch.tensor([[0.5, 0.5], [0.99, 0.01], [0.9, 0.1], [1.0, 0.0]]).double()
    entropy = -torch.xlogy(probabilities, probabilities).sum(-1)  # in ascending order: positions 3, 1, 2, 0
    masked = torch.ones(1, 4, dtype=torch.bool)
    for gamma, chosen in [
        (0.0, {3, 1}),
        (entropy[1].item() - 1e-9, {3, 1}),
        (entropy[1].item() + 1e-9, {3, 1, 2}),
        (entropy[1:3].sum().item() + 1e-9, {3, 1, 2, 0}),
    ]:
        selected = EntropyBound(gamma)(probabilities.log(), masked)
        assert set(selected.nonzero()[:, 1].tolist()) == chosen, gamma


def test_the_time_of_the_denoiser_is_the_share_of_masks(generator):
    seen = []

    def denoiser(xt, t, at=None):
        seen.append(t.tolist())
        return Table()(xt, t, at=at)

    last(by_order(denoiser, masks(1), HighestConfidence(), mask_id=MASK, generator=generator))
    assert seen == [[1.0], [pytest.approx(2 / 3)], [pytest.approx(1 / 3)]]
    seen.clear()
    last(by_order(denoiser, masks(1), RandomOrder(3), mask_id=MASK, time=lambda share: share / 2, generator=generator))
    assert seen == [[0.5]]


def test_a_temperature_around_the_denoiser_sharpens_tokens(generator):
    sharp = Temperature(Table(), 0.01)
    x = last(by_order(sharp, masks(50), HighestConfidence(), mask_id=MASK, generator=generator))
    assert len(x.unique(dim=0)) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HighestConfidence(0), "Expected `k` >= 1, got 0."),
        (lambda: RandomOrder(-1), "Expected `k` >= 1, got -1."),
        (lambda: HighestConfidence(threshold=0.0), "Expected 0 < `threshold` <= 1, got 0.0."),
        (lambda: EntropyBound(-1), "Expected `gamma` >= 0, got -1."),
        (
            lambda: order_log_likelihood(Table(), torch.zeros(1, 3).long(), RandomOrder(), mask_id=MASK),
            "Expected a deterministic order",
        ),
        (lambda: order_log_likelihood(Table(), masks(1), HighestConfidence(), mask_id=MASK), "without masks"),
        (
            lambda: by_order(Table(), masks(1), RandomOrder(), mask_id=MASK, clamp=torch.full((1, 3), -2)),
            r"Expected token ids or -1 \(free\) in `clamp`, got -2",
        ),
        (
            lambda: last(by_order(lambda xt, t, at: torch.zeros(2, 3, 4), masks(2), RandomOrder(), mask_id=MASK)),
            "Expected the denoiser to return",
        ),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
