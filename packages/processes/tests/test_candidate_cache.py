"""Prefix classifiers that score candidates without rereading the prefix."""

import pytest
import torch

from discrete_diffusion.processes import Classifier, PrefixNetwork

V, CLOSE = 5, {"rtol": 0, "atol": 1e-12}


class SumClassifier(torch.nn.Module):
    """Classifier whose state after a prefix is a sum over its tokens and positions, and a count of the tokens read."""

    causal = True

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        table = torch.randn(16, V, 3, generator=generator, dtype=torch.float64)
        self.table, self.read, self.whole = torch.nn.Parameter(table), 0, 0

    def forward(self, x, sigma):
        self.whole += 1
        return self.table[torch.arange(x.shape[1]), x].sum(1)

    def candidates(self, prefix, tokens, sigma, past=None):
        state, length = past[0] if past else (torch.zeros(len(prefix), 3), torch.zeros(len(prefix), dtype=torch.int64))
        start = int(length[0])
        self.read += prefix.numel() + tokens.numel()
        state = state + self.table[torch.arange(start, start + prefix.shape[1]), prefix].sum(1)
        return state[:, None] + self.table[start + prefix.shape[1], tokens], ((state, length + prefix.shape[1]),)


def with_candidates(prefix, tokens):
    """Rows of each prefix with each of its candidates."""
    return torch.cat(
        [torch.cat([row.expand(len(c), -1), c[:, None]], 1) for row, c in zip(prefix, tokens, strict=True)]
    )


@pytest.fixture
def network():
    return SumClassifier().eval()


@pytest.fixture
def x(generator):
    return torch.randint(V, (3, 6), generator=generator)


def expected(network, rows):
    return network.table[torch.arange(rows.shape[1]), rows].sum(1).detach()


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("parts", [1, 2])
@torch.no_grad()
def test_a_step_reads_one_token_per_prefix_and_candidate(network, x, ragged, parts):
    assert isinstance(network, PrefixNetwork)
    model = Classifier(None, network)
    for i in range(6):
        choices = [torch.arange(V)[: V - row if ragged else V] for row in range(3)]
        # Later steps hold the rows in another order, as a sampler that resamples does.
        prefix = x[:, :i] if i < 4 else x[[2, 0, 1], :i]
        rows = with_candidates(prefix, choices)
        network.read = 0
        outputs = torch.cat([model(part, torch.full((len(part),), 1 - (i + 1) / 6)) for part in rows.chunk(parts)])
        torch.testing.assert_close(outputs, expected(network, rows).log_softmax(-1), **CLOSE)
        if i >= 3:
            assert 0 < network.read <= (3 + parts) * (1 + V)
    assert model._cache._children == []


@torch.no_grad()
def test_changes_are_noticed(network, x):
    model, t = Classifier(None, network), torch.ones(3 * V)
    choices = [torch.arange(V)] * 3

    def check(prefix):
        rows = with_candidates(prefix, choices)
        torch.testing.assert_close(model(rows, t), expected(network, rows).log_softmax(-1), **CLOSE)

    check(x[:, :2])
    check(x[:, :3])
    check((x[:, :4] + 1) % V)
    model(with_candidates(x[:, :5], choices), 0 * t)  # the last step
    check(x[:, :2])
    check(x[:, :4])
    network.table.mul_(2.0)
    check(x[:, :3])
    for _ in range(5):
        check(x[:, :3])
    assert sum(len(part.tokens) for part in model._cache._children) <= 6


def test_whole_rows_are_read_otherwise(network, x):
    rows, model = with_candidates(x[:, :3], [torch.arange(V)] * 3), Classifier(None, network)
    t = torch.ones(len(rows))
    model(rows, t)  # with gradients
    with torch.no_grad():
        model(x, t[:3])  # different prefixes
        network.train()
        model(rows, t)
        network.eval()
        network.causal = False
        model(rows, t)
    assert (network.whole, network.read) == (4, 0)
