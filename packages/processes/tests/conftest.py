"""Tiny worlds: each process with the exact Oracle of a random joint distribution."""

from types import SimpleNamespace

import pytest
import torch

from discrete_diffusion.processes import Absorbing, Marginal, Mean, Uniform
from discrete_diffusion.schedules import Cosine, CosineSquared, Geometric, Linear, LogLinear, Polynomial

SCHEDULES = [LogLinear(), Cosine(), CosineSquared(), Linear(), Geometric(), Polynomial()]
MARGINALS = [0.5, 0.3, 0.2]


def make_world(oracle, kind, schedule):
    """A process over 3 tokens and 3 positions, with the exact denoiser that its network should be."""
    if kind == "absorbing":
        process, noise, mask_id = Absorbing(schedule, 3, mask_id=2), torch.tensor([0.0, 0.0, 1.0]), 2
    elif kind.startswith("uniform"):
        process = Uniform(schedule, 3, **({"parameterization": Mean()} if kind.endswith("mean") else {}))
        noise, mask_id = torch.ones(3), None
    else:
        process = Marginal(schedule, MARGINALS, **({"parameterization": Mean()} if kind.endswith("mean") else {}))
        noise, mask_id = torch.tensor(MARGINALS, dtype=torch.float64), None
    world = oracle.random(3, 3, noise, mask_id=mask_id)
    exact = world.denoiser if kind == "absorbing" or kind.endswith("mean") else world.leave_one_out

    def denoiser(xt, t, y=None):
        """The exact denoiser of one common time."""
        alpha = schedule.alpha(t[0].double()).item()
        return exact(alpha, y)[world.index(xt)].log()

    return SimpleNamespace(process=process, oracle=world, denoiser=denoiser, schedule=schedule)


@pytest.fixture(params=["absorbing", "uniform", "uniform-mean", "marginal", "marginal-mean"])
def kind(request):
    return request.param


@pytest.fixture(params=SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def schedule(request):
    return request.param


@pytest.fixture
def world(oracle, kind, schedule):
    return make_world(oracle, kind, schedule)


@pytest.fixture
def log_linear_world(oracle, kind):
    return make_world(oracle, kind, LogLinear())


class TinyNetwork(torch.nn.Module):
    """Two layers of single-head attention with random weights, and a count of the tokens that it was fed.

    Whole sequences are attended to under a mask, continued ones by reading what is remembered: two ways to one result.
    """

    def __init__(self, vocab_size, *, causal, classes=2, size=4, seed=0):
        super().__init__()
        self.causal, self.fed, self.calls, self.vocab_size = causal, 0, 0, vocab_size
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape):
            return torch.nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64))

        self.tokens, self.labels, self.positions = draw(vocab_size, size), draw(classes, size), draw(32, size)
        self.qkv, self.out = torch.nn.ParameterList([draw(3, size, size) for _ in range(2)]), draw(size, vocab_size)

    def extend(self, tokens, sigma, y=None, past=None):
        if not self.causal:
            raise ValueError("Expected a causal network.")
        start = 0 if past is None else past[0][0].shape[2]
        h, length, extended = self._embed(tokens, sigma, y, start), tokens.shape[1], []
        for layer, (q, k, v) in enumerate(self.qkv):
            keys, values = (h @ k)[:, None], (h @ v)[:, None]
            if past is not None:
                keys, values = torch.cat([past[layer][0], keys], 2), torch.cat([past[layer][1], values], 2)
            scores = (h @ q) @ keys[:, 0].transpose(1, 2)
            seen = torch.arange(start + length) <= torch.arange(start, start + length)[:, None]
            h = h + scores.masked_fill(~seen, -torch.inf).softmax(-1) @ values[:, 0]
            extended.append((keys, values))
        self.fed, self.calls = self.fed + length, self.calls + 1
        return h, tuple(extended)

    def encode(self, xt, sigma, y=None):
        h, length = self._embed(xt, sigma, y, 0), xt.shape[1]
        hidden_from = torch.ones(length, length).triu(1).bool() & self.causal
        for q, k, v in self.qkv:
            scores = (h @ q) @ (h @ k).transpose(1, 2)
            h = h + scores.masked_fill(hidden_from, -torch.inf).softmax(-1) @ (h @ v)
        return h

    def decode(self, hidden, sigma, y=None, at=None):
        logits = hidden.tanh() @ self.out + sigma[:, None, None] * self.out.sum(0)
        return logits if at is None else logits[at]

    def decode_tokens(self, hidden, sigma, y=None):
        return self.decode(hidden[:, None], sigma, y)[:, 0]

    def forward(self, xt, sigma, y=None, at=None):
        return self.decode(self.encode(xt, sigma, y), sigma, y, at)

    def _embed(self, tokens, sigma, y, start):
        h = self.tokens[tokens] + self.positions[start : start + tokens.shape[1]] + sigma[:, None, None]
        return h if y is None else h + self.labels[y][:, None]


@pytest.fixture(scope="session")
def tiny_network():
    """Make a network of random weights: `tiny_network(vocab_size, causal=True)`."""
    return TinyNetwork
