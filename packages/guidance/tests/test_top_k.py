import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from discrete_diffusion.guidance import autoregressive, last
from discrete_diffusion.guidance.truncation import TopK

XT = torch.arange(6).reshape(3, 2) % 4
T, S = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0.1, 0.2, 0.3])


def table(seed):
    return torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)


@given(k=st.integers(1, 7), seed=st.integers(0, 100))
def test_keeps_the_k_likeliest_in_proportion(k, seed):
    log_probs = table(seed)
    probs = log_probs[XT].exp()
    distribution = TopK(lambda xt, t: log_probs[xt], k)(XT, T).exp()
    kth = probs.sort(-1, descending=True).values[..., min(k, 6) - 1, None]
    expected = probs * (probs >= kth)
    torch.testing.assert_close(distribution, expected / expected.sum(-1, keepdim=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [0, 1, 0, 0, 0]),
        (2, [0, 2 / 3, 1 / 3, 0, 0]),
        (3, [0, 1 / 2, 1 / 4, 1 / 4, 0]),
        (4, [0, 0.4, 0.2, 0.2, 0.2]),
        (5, [0, 0.4, 0.2, 0.2, 0.2]),
    ],
)
def test_of_a_tie_the_lower_index(k, expected, dtype):
    probs = torch.tensor([0.0, 0.4, 0.2, 0.2, 0.2], dtype=dtype)
    distribution = TopK(lambda xt, t, s: probs.log().expand(*xt.shape, 5), k)(XT, T, S)
    torch.testing.assert_close(distribution.exp(), torch.tensor(expected, dtype=dtype).expand(3, 2, 5))
    assert distribution.dtype == dtype


def test_of_a_thousand_ties_the_lower_indices():
    kept = TopK(lambda xt, t: torch.zeros(*xt.shape, 1000).log_softmax(-1), 300)(XT, T) > -math.inf
    assert torch.equal(kept, (torch.arange(1000) < 300).expand(3, 2, 1000))


@pytest.mark.parametrize("k", [6, 7, 1000])
def test_the_whole_vocabulary_is_the_identity(k):
    assert torch.equal(TopK(lambda xt, t: table(0)[xt], k)(XT, T), table(0)[XT])


def test_at_and_labels_are_handed_on():
    tables = torch.stack([table(1), table(2)])

    def base(xt, t, *, y, at=None):
        rows = tables[y[:, None], xt]
        return rows if at is None else rows[at]

    at = torch.tensor([[True, False], [False, False], [True, True]])
    y = torch.tensor([0, 1, 1])
    selected = TopK(base, 2)(XT, T, y=y, at=at)
    assert selected.shape == (3, 6)
    assert torch.equal(selected, TopK(base, 2)(XT, T, y=y)[at])
    assert not torch.equal(selected, TopK(base, 2)(XT, T, y=1 - y, at=at))


@pytest.mark.parametrize("use_at", [False, True])
def test_one_is_greedy_decoding(use_at, generator):
    """A Markov chain; what is drawn must be its likeliest path, each token after the last."""
    chain = table(3)[:, :4].log_softmax(-1)

    def model(x, t, *, at=None):
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
        rows = chain[before]
        return rows if at is None else rows[at]

    x = last(autoregressive(TopK(model, 1), torch.zeros(5, 7).long(), generator=generator, use_at=use_at))
    token, path = 0, []
    for _ in range(7):
        token = int(chain[token].argmax())
        path.append(token)
    assert torch.equal(x, torch.tensor(path).expand(5, 7))


@pytest.mark.parametrize("k", [0, -3])
def test_construction_errors(k):
    with pytest.raises(ValueError, match=rf"Expected `k` >= 1, got {k}\."):
        TopK(lambda xt, t: table(0)[xt], k)
