import math

import pytest
import torch
from torch import Tensor, nn

from discrete_diffusion.guidance import ClassifierFree, CountEvaluations, Temperature
from discrete_diffusion.guidance.methods.nos import NOS

B, L, V, D, MASK = 3, 4, 5, 3, 4
XT = torch.tensor([[4, 0, 4, 2], [4, 4, 4, 4], [1, 4, 3, 0]])
T = torch.tensor([0.9, 0.5, 0.2])
Y = torch.tensor([0, 1, 0])
HIDDEN = XT == MASK


class Linear(nn.Module):
    """An absorbing denoiser whose hidden states are read off one by one: log p = log_softmax(h W)."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        generator = torch.Generator().manual_seed(0)

        def parameter(*shape):
            return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype))

        self.tokens, self.places, self.labels = parameter(V, D), parameter(L, D), parameter(3, D)
        self.output = parameter(D, V)

    def encode(self, xt: Tensor, t: Tensor, *, y: Tensor | None = None) -> Tensor:
        label = self.labels[2] if y is None else self.labels[y][:, None]
        return self.tokens[xt] + self.places + label + t[:, None, None].to(self.tokens.dtype)

    def decode(self, hidden: Tensor, xt: Tensor, t: Tensor, *, y: Tensor | None = None, at: Tensor | None = None):
        predicted = (hidden @ self.output).masked_fill(torch.arange(V) == MASK, -math.inf).log_softmax(-1)
        carried = torch.full_like(predicted, -math.inf).scatter(-1, xt[..., None], 0.0)
        log_probs = torch.where((xt == MASK)[..., None], predicted, carried)
        return log_probs if at is None else log_probs[at]

    def forward(self, xt, t, *, y=None, at=None):
        return self.decode(self.encode(xt, t, y=y), xt, t, y=y, at=at)


WEIGHT = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def likelihood(hidden: Tensor, t: Tensor) -> Tensor:
    """A logistic classifier of the mean hidden state, later in time more certain."""
    return nn.functional.logsigmoid((hidden.mean(1) @ WEIGHT.to(hidden.dtype)) * (2 - t).to(hidden.dtype))


def score(hidden: Tensor, t: Tensor) -> Tensor:
    """Its gradient, by hand."""
    slope = (2 - t).double()
    return (slope * torch.sigmoid(-slope * (hidden.mean(1) @ WEIGHT)))[:, None, None] * WEIGHT.expand(B, L, D) / L


def divergence(log_q: Tensor, log_p: Tensor) -> Tensor:
    return torch.where(log_q == -math.inf, 0, log_q.exp() * (log_q - log_p)).sum((1, 2))


@pytest.mark.parametrize("y", [None, Y])
@pytest.mark.parametrize("at", [None, HIDDEN])
def test_without_steps_or_gamma_it_is_the_base(y, at):
    base = Linear()
    expected = base(XT, T, y=y, at=at)
    for gamma, steps in ((2.0, 0), (0, 5), (0.0, 5), (lambda t: 0 * t, 5)):
        assert torch.equal(NOS(base, likelihood, gamma, steps, 0.1, 1.0)(XT, T, y=y, at=at), expected)


@pytest.mark.parametrize("gamma", [0.5, 3])
@pytest.mark.parametrize("stability", [0, 1.0])
def test_one_step_by_hand(gamma, stability):
    """Adagrad's first step is step_size g / (|g| + 1e-10), and the divergence has no gradient yet."""
    base = Linear()
    hidden = base.encode(XT, T, y=Y)
    g = gamma * score(hidden, T)
    expected = base.decode(hidden + 0.1 * g / (g.abs() + 1e-10), XT, T)
    guided = NOS(base, likelihood, gamma, 1, 0.1, stability)(XT, T, y=Y)
    torch.testing.assert_close(guided, expected, atol=1e-13, rtol=0)
    assert (guided - base(XT, T, y=Y))[HIDDEN].exp().sub(1)[:, :MASK].abs().max() > 0.01


def test_two_steps_by_hand():
    """d KL(q || p) / d logits = q (log q - log p - KL): the distribution written first is the perturbed one."""
    base, gamma, stability = Linear(), 2.0, 0.7
    hidden = base.encode(XT, T)
    first = gamma * score(hidden, T)
    moved = hidden + 0.3 * first / (first.abs() + 1e-10)
    q, p = (torch.log_softmax((h @ base.output)[..., :MASK], -1) for h in (moved, hidden))
    each = (q.exp() * (q - p)).sum(-1, keepdim=True)
    pull = (q.exp() * (q - p - each)) @ base.output[:, :MASK].T * HIDDEN[..., None]
    second = gamma * score(moved, T) - stability * pull
    moved = moved + 0.3 * second / ((first**2 + second**2).sqrt() + 1e-10)
    guided = NOS(base, likelihood, gamma, 2, 0.3, stability)(XT, T)
    torch.testing.assert_close(guided, base.decode(moved, XT, T), atol=1e-12, rtol=0)


def test_the_likelihood_rises_and_stability_holds_the_distribution_near():
    base, seen = Linear(), []

    def watched(hidden, t):
        seen.append(likelihood(hidden, t).detach())
        return likelihood(hidden, t)

    free = NOS(base, watched, 1.0, 20, 0.1, 0)(XT, T)
    assert (torch.stack(seen).diff(dim=0) > 0).all()
    unguided = base(XT, T)
    near = [divergence(NOS(base, likelihood, 1.0, 20, 0.1, c)(XT, T), unguided) for c in (0, 1, 100)]
    torch.testing.assert_close(near[0], divergence(free, unguided))
    assert (near[1] < 0.5 * near[0]).all()
    assert (near[2] < 0.02 * near[0]).all()


def test_rows_do_not_mix():
    base = Linear()
    guided = NOS(base, likelihood, 2.0, 4, 0.2, 0.5)
    together = guided(XT, T, y=Y)
    for row in range(B):
        alone = guided(XT[row : row + 1], T[row : row + 1], y=Y[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-12, rtol=0)


def test_a_row_without_strength_is_the_base():
    base = Linear()
    mixed = NOS(base, likelihood, lambda t: 2.0 * (t < 0.6), 4, 0.2, 0.5)(XT, T)
    torch.testing.assert_close(mixed[1:], NOS(base, likelihood, 2.0, 4, 0.2, 0.5)(XT, T)[1:], atol=1e-12, rtol=0)
    assert torch.equal(mixed[0], base(XT, T)[0])
    assert not torch.equal(mixed[1], base(XT, T)[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_positions_that_the_likelihood_ignores_stay(dtype):
    """Adagrad turns any gradient into a full step, and so would the rounding error of a divergence at its minimum."""
    base = Linear(dtype)

    def first_only(hidden, t):
        return likelihood(hidden[:, :1], t)

    guided = NOS(base, first_only, 1.0, 5, 0.1, 1.0)(XT, T)
    assert guided.dtype == dtype
    torch.testing.assert_close(guided[:, 1:], base(XT, T)[:, 1:], atol=1e-6, rtol=0)
    assert (guided[:2, 0] - base(XT, T)[:2, 0])[:, :MASK].abs().max() > 0.1


def test_at_selects_the_same_rows():
    guided = NOS(Linear(), likelihood, 2.0, 3, 0.2, 0.5)
    for at in (HIDDEN, ~HIDDEN, torch.zeros_like(HIDDEN)):
        assert torch.equal(guided(XT, T, y=Y, at=at), guided(XT, T, y=Y)[at])
    assert torch.equal(guided(XT, T)[~HIDDEN], Linear()(XT, T)[~HIDDEN])


def test_gradients_stay_inside():
    base = Linear()
    head = nn.Linear(D, 1, dtype=torch.float64)
    guided = NOS(base, lambda hidden, t: nn.functional.logsigmoid(head(hidden.mean(1))[:, 0]), 1.0, 3, 0.2, 0.5)
    outside = guided(XT, T)
    assert not outside.requires_grad
    for parameter in (*base.parameters(), *head.parameters()):
        assert parameter.requires_grad
        assert parameter.grad is None
    with torch.no_grad():
        assert torch.equal(guided(XT, T), outside)
        assert not torch.is_grad_enabled()


def test_the_global_generator_is_not_touched():
    before = torch.random.get_rng_state()
    NOS(Linear(), likelihood, 1.0, 3, 0.2, 0.5)(XT, T)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_cost():
    """At most steps + 1 decodings: of h, of every h' but the first, and of the last."""
    base = Linear()
    counts = {"encode": 0, "decode": 0}

    class Counted(Linear):
        def encode(self, *args, **kwargs):
            counts["encode"] += 1
            return base.encode(*args, **kwargs)

        def decode(self, *args, **kwargs):
            counts["decode"] += 1
            return base.decode(*args, **kwargs)

    for stability, decodings in ((0.5, 5), (0, 1)):
        counts.update(encode=0, decode=0)
        counted = CountEvaluations(likelihood)
        NOS(Counted(), counted, 1.0, 4, 0.2, stability)(XT, T)
        assert counts == {"encode": 1, "decode": decodings}
        assert (counted.calls, counted.rows) == (4, 4 * B)


class LeftToRight(Linear):
    left_to_right = True


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NOS(Linear(), likelihood, -1.0, 3, 0.1, 1), r"`gamma` >= 0, got -1\.0\."),
        (lambda: NOS(Linear(), likelihood, 1, -1, 0.1, 1), r"Expected `steps` >= 0, got -1\."),
        (lambda: NOS(Linear(), likelihood, 1, 3, 0.0, 1), r"finite `step_size` > 0, got 0\.0\."),
        (lambda: NOS(Linear(), likelihood, 1, 3, math.nan, 1), "finite `step_size` > 0, got nan"),
        (lambda: NOS(Linear(), likelihood, 1, 3, 0.1, -1), r"finite `stability` >= 0, got -1\."),
        (lambda: NOS(Linear(), likelihood, 1, 3, 0.1, math.inf), "finite `stability` >= 0, got inf"),
        (lambda: NOS(LeftToRight(), likelihood, 1, 3, 0.1, 1), "got a left-to-right model: use `PPLM`"),
        (lambda: NOS(Temperature(LeftToRight(), 2), likelihood, 1, 3, 0.1, 1), "left-to-right model"),
        (lambda: NOS(lambda xt, t: Linear()(xt, t), likelihood, 1, 3, 0.1, 1), "`encode` and `decode`"),
        (lambda: NOS(ClassifierFree(Linear(), 2, 2), likelihood, 1, 3, 0.1, 1), "around the denoiser itself"),
    ],
)
def test_construction_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
