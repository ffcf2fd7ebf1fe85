import math

import pytest
import torch
from torch import Tensor, nn

from discrete_diffusion.guidance import ClassifierFree, CountEvaluations, Temperature, autoregressive, last
from discrete_diffusion.guidance.methods.pplm import PPLM
from discrete_diffusion.guidance.strength import Interval

B, L, V, D, BLOCKS = 3, 4, 5, 2, 2
X = torch.tensor([[4, 0, 1, 2], [3, 3, 0, 4], [1, 4, 3, 0]])
T, Y = torch.ones(B), torch.tensor([0, 1, 0])


class Causal(nn.Module):
    """Two blocks of attention with one head, each reading keys and values of the past; tokens count themselves."""

    left_to_right = True
    bos_id = V

    def __init__(self, dtype=torch.float64):
        super().__init__()
        generator = torch.Generator().manual_seed(1)

        def parameter(*shape):
            return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype))

        self.tokens, self.labels, self.output = parameter(V + 1, D), parameter(3, D), parameter(D, V)
        self.qkv = nn.ParameterList(parameter(D, 3 * D) for _ in range(BLOCKS))
        self.read = 0

    def extend(self, tokens: Tensor, past, *, y: Tensor | None = None):
        self.read += tokens.shape[1]
        embedded = tokens @ self.tokens[:V] if tokens.is_floating_point() else self.tokens[tokens]
        x = embedded + (self.labels[2] if y is None else self.labels[y][:, None])
        new = []
        for block, qkv in enumerate(self.qkv):
            q, k, v = (x @ qkv).unsqueeze(1).chunk(3, -1)
            if past is not None:
                k, v = torch.cat([past[block][0], k], 2), torch.cat([past[block][1], v], 2)
            new.append((k, v))
            seen = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril(k.shape[2] - q.shape[2])
            weights = (q @ k.mT).masked_fill(~seen, -math.inf).softmax(-1)
            x = x + (weights @ v)[:, 0].tanh()
        return x, tuple(new)

    def next_token(self, hidden: Tensor, *, y: Tensor | None = None) -> Tensor:
        # Token 4 may not follow itself in these tests' worlds; it is impossible, whatever the hidden state.
        return (hidden @ self.output).masked_fill(torch.arange(V) == V - 1, -math.inf).log_softmax(-1)

    def forward(self, x, t, *, y=None, at=None):
        fed = torch.cat([torch.full_like(x[:, :1], V), x[:, :-1]], 1)
        log_probs = self.next_token(self.extend(fed, None, y=y)[0], y=y)
        return log_probs if at is None else log_probs[at]


WEIGHT = torch.tensor([1.5, -1.0], dtype=torch.float64)


def likelihood(hidden: Tensor, t: Tensor) -> Tensor:
    """A logistic classifier of the mean hidden state; t is the share still to draw."""
    torch.testing.assert_close(t, torch.full((len(hidden),), 1 - (hidden.shape[1] - 1) / L, dtype=t.dtype))
    return nn.functional.logsigmoid(hidden.mean(1) @ WEIGHT.to(hidden.dtype))


def column(i, rows=(0, 1, 2)):
    at = torch.zeros(B, L, dtype=torch.bool)
    at[list(rows), i] = True
    return at


def divergence(log_q: Tensor, log_p: Tensor) -> Tensor:
    return torch.where(log_q == -math.inf, 0, log_q.exp() * (log_q - log_p)).sum(-1)


@pytest.mark.parametrize("y", [None, Y])
@pytest.mark.parametrize("at", [None, column(2), column(1, [0, 2]), X > 2, torch.zeros(B, L, dtype=torch.bool)])
def test_without_steps_gamma_or_fusion_it_is_the_base(y, at):
    model = Causal()
    expected = model(X, T, y=y, at=at)
    for gamma, steps, fusion in ((2.0, 0, 1), (0, 3, 1), (lambda t: 0 * t, 3, 0.5), (2.0, 3, 0)):
        assert torch.equal(PPLM(model, likelihood, gamma, steps, 0.1, 0.1, fusion)(X, T, y=y, at=at), expected)


def test_the_first_column_has_no_past_to_perturb():
    model = Causal()
    guided = PPLM(model, likelihood, 2.0, 3, 0.5, 0.1, 1)
    assert torch.equal(guided(X, T, at=column(0)), model(X, T, at=column(0)))
    assert torch.equal(guided(X, T)[:, 0], model(X, T, at=column(0)))


def by_differences(model, x, gamma, steps, step_size, kl, gradient_scale):
    """Perturbed distribution of the token after x (i,), by central differences of the objective over every number."""
    fed = torch.cat([torch.tensor([V]), x])[None]
    with torch.no_grad():
        before, past = model.extend(fed[:, :-1], None)
        unguided = model.next_token(model.extend(fed[:, -1:], past)[0])[:, 0]

        def objective(blocks):
            now, past = model.extend(fed[:, -1:], blocks)
            distribution = model.next_token(now)[:, 0]
            hidden = torch.cat([before, now, model.extend(distribution.exp()[:, None], past)[0]], 1)
            t = torch.tensor([1 - (len(x) + 1) / L])
            return float(gamma * likelihood(hidden, t) - kl * divergence(distribution, unguided))

        for _ in range(steps):
            moved = []
            for block, states in enumerate(past):
                gradients = [torch.zeros_like(states[0]), torch.zeros_like(states[1])]
                for which in (0, 1):
                    for index in torch.cartesian_prod(*map(torch.arange, states[which].shape)).tolist():
                        ends = []
                        for sign in (1, -1):
                            shifted = [[s.clone() for s in b] for b in past]
                            shifted[block][which][tuple(index)] += sign * 1e-5
                            ends.append(objective(shifted))
                        gradients[which][tuple(index)] = (ends[0] - ends[1]) / 2e-5
                norm = sum(g.square().sum() for g in gradients).sqrt()
                moved.append([s + step_size * g / norm**gradient_scale for s, g in zip(states, gradients, strict=True)])
            past = moved
        return model.next_token(model.extend(fed[:, -1:], past)[0])[:, 0], unguided


@pytest.mark.parametrize(
    ("steps", "kl", "gradient_scale"), [(1, 0.0, 1), (1, 5.0, 1), (2, 1.0, 1), (2, 1.0, 0.5), (2, 0.0, 0)]
)
def test_steps_by_differences(steps, kl, gradient_scale):
    model = Causal()
    guided = PPLM(model, likelihood, 1.5, steps, 0.4, kl, 1, gradient_scale)
    for i in (1, 2, 3):
        for row in range(2):
            expected, unguided = by_differences(model, X[row, :i], 1.5, steps, 0.4, kl, gradient_scale)
            distribution = guided(X, T, at=column(i, [row]))
            torch.testing.assert_close(distribution, expected, atol=1e-6, rtol=0)
            assert (distribution - unguided)[:, : V - 1].abs().max() > 1e-3


@pytest.mark.parametrize("fusion", [0.3, 0.9])
def test_fusion_is_a_geometric_mean(fusion):
    model = Causal()
    alone = PPLM(model, likelihood, 1.5, 3, 0.4, 0.1, 1)(X, T).exp()
    product = alone**fusion * model(X, T).exp() ** (1 - fusion)
    fused = PPLM(model, likelihood, 1.5, 3, 0.4, 0.1, fusion)(X, T)
    torch.testing.assert_close(fused.exp(), product / product.sum(-1, keepdim=True))
    assert (fused[..., V - 1] == -math.inf).all()


def test_the_likelihood_rises_and_the_divergence_holds_the_distribution_near():
    model, seen = Causal(), []

    def watched(hidden, t):
        seen.append(likelihood(hidden, t).detach())
        return likelihood(hidden, t)

    PPLM(model, watched, 1.0, 8, 0.1, 0, 1)(X, T, at=column(3))
    assert (torch.stack(seen).diff(dim=0) > 0).all()
    unguided = model(X, T, at=column(3))
    near = [
        divergence(PPLM(model, likelihood, 1.0, 40, 0.05, kl, 1, gradient_scale=0)(X, T, at=column(3)), unguided)
        for kl in (0, 1, 10)
    ]
    assert (near[1] < near[0]).all()
    assert (near[2] < 0.3 * near[0]).all()


def test_rows_do_not_mix():
    guided = PPLM(Causal(), likelihood, 2.0, 3, 0.3, 0.5, 0.9)
    together = guided(X, T, y=Y)
    for row in range(B):
        alone = guided(X[row : row + 1], T[:1], y=Y[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-12, rtol=0)
    assert not torch.allclose(together, guided(X, T, y=1 - Y))


@pytest.mark.parametrize("at", [column(2), column(3, [0, 2]), X > 2, X == X])
def test_at_selects_the_same_rows(at):
    guided = PPLM(Causal(), likelihood, 2.0, 2, 0.3, 0.5, 0.9)
    torch.testing.assert_close(guided(X, T, y=Y, at=at), guided(X, T, y=Y)[at], atol=1e-12, rtol=0)


def test_an_interval_is_read_at_the_share_that_is_left():
    model = Causal()
    part = PPLM(model, likelihood, Interval(2.0, 0.4, 0.6), 2, 0.3, 0.5, 1)(X, T)
    whole = PPLM(model, likelihood, 2.0, 2, 0.3, 0.5, 1)(X, T)
    torch.testing.assert_close(part[:, 2], whole[:, 2])
    torch.testing.assert_close(part[:, [0, 1, 3]], model(X, T)[:, [0, 1, 3]])


def test_no_token_is_read_twice_from_left_to_right(generator):
    """Column 0 is the base's; then bos and one token more for each column, read 2 `steps` + 1 times beside the past."""
    model, steps = Causal(), 3
    counted = CountEvaluations(likelihood)
    guided = PPLM(model, counted, 2.0, steps, 0.3, 0.5, 0.9)
    for _ in range(2):
        model.read = counted.calls = 0
        last(autoregressive(guided, torch.zeros(2, L).long(), generator=generator, use_at=True))
        assert model.read == L + 1 + (L - 1) * (2 * steps + 2)
        assert counted.calls == (L - 1) * steps


def test_what_it_remembers_never_shows():
    model = Causal()
    guided = PPLM(model, likelihood, 2.0, 2, 0.3, 0.5, 0.9)
    changed = X.clone()
    changed[1, 0] = 0
    calls = [
        (X, Y, column(1)),
        (changed, Y, column(2)),
        (X, Y, column(1)),
        (X, 1 - Y, column(2)),
        (X, Y, column(1)),
        (X, None, column(2)),
        (X, Y, column(1)),
        (X.flip(0), Y.flip(0), column(2)),
        (X, Y, column(1)),
        (X, Y, column(2, [0, 1])),
        (X, Y, column(2)),
        (X, Y, column(1)),
        (X, Y, column(3)),
    ]
    for x, y, at in calls:
        fresh = PPLM(model, likelihood, 2.0, 2, 0.3, 0.5, 0.9)
        torch.testing.assert_close(guided(x, T, y=y, at=at), fresh(x, T, y=y, at=at), atol=1e-12, rtol=0)


def test_guidance_raises_the_probability_of_the_target(generator):
    """With tied embeddings hidden states pull towards tokens like them, so that the steered ones are drawn."""
    model = Causal()
    model.output = nn.Parameter(model.tokens[:V].detach().T.clone())

    @torch.no_grad()
    def mean(sampled):
        x = last(autoregressive(sampled, torch.zeros(300, L).long(), generator=generator, use_at=True))
        return float((model.tokens[x].mean(1) @ WEIGHT).mean())

    assert mean(PPLM(model, likelihood, 1.0, 5, 1.0, 0, 1)) > mean(model) + 0.3


def test_gradients_stay_inside():
    model, head = Causal(), nn.Linear(D, 1, dtype=torch.float64)

    def trained(hidden, t):
        return nn.functional.logsigmoid(head(hidden.mean(1))[:, 0])

    guided = PPLM(model, trained, 1.0, 3, 0.2, 0.5, 0.9)
    outside = guided(X, T, at=column(3))
    assert not outside.requires_grad
    for parameter in (*model.parameters(), *head.parameters()):
        assert parameter.requires_grad
        assert parameter.grad is None
    with torch.no_grad():
        assert torch.equal(guided(X, T, at=column(3)), outside)
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gradient_scale", [1, 1.5])
def test_a_likelihood_that_is_sure_moves_nothing(dtype, gradient_scale):
    """Its gradient is zero, and nothing is divided by its norm."""
    model = Causal(dtype)
    guided = PPLM(model, lambda h, t: 0 * h.sum((1, 2)), 1.0, 3, 0.5, 0.5, 1, gradient_scale)(X, T)
    assert guided.dtype == dtype
    torch.testing.assert_close(guided, model(X, T))


class Diffusion(Causal):
    left_to_right = False


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PPLM(Causal(), likelihood, -1.0, 3, 0.1, 0.1, 1), r"`gamma` >= 0, got -1\.0\."),
        (lambda: PPLM(Causal(), likelihood, 1, -1, 0.1, 0.1, 1), r"Expected `steps` >= 0, got -1\."),
        (lambda: PPLM(Causal(), likelihood, 1, 3, 0, 0.1, 1), r"finite `step_size` > 0, got 0\."),
        (lambda: PPLM(Causal(), likelihood, 1, 3, 0.1, -0.1, 1), r"finite `kl` >= 0, got -0\.1\."),
        (lambda: PPLM(Causal(), likelihood, 1, 3, 0.1, math.inf, 1), "finite `kl` >= 0, got inf"),
        (lambda: PPLM(Causal(), likelihood, 1, 3, 0.1, 0.1, 1.1), r"Expected 0 <= `fusion` <= 1, got 1\.1\."),
        (lambda: PPLM(Causal(), likelihood, 1, 3, 0.1, 0.1, math.nan), "0 <= `fusion` <= 1, got nan"),
        (lambda: PPLM(Causal(), likelihood, 1, 3, 0.1, 0.1, 1, -1), r"finite `gradient_scale` >= 0, got -1\."),
        (lambda: PPLM(Diffusion(), likelihood, 1, 3, 0.1, 0.1, 1), "left-to-right `base` for PPLM: use `NOS`"),
        (lambda: PPLM(lambda x, t: X, likelihood, 1, 3, 0.1, 0.1, 1), "left-to-right `base`"),
        (lambda: PPLM(Temperature(Causal(), 2), likelihood, 1, 3, 0.1, 0.1, 1), "around the model itself"),
        (lambda: PPLM(ClassifierFree(Causal(), 2, 2), likelihood, 1, 3, 0.1, 0.1, 1), "`next_token` and `bos_id`"),
    ],
)
def test_construction_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
