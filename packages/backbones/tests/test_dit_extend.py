"""Causal DiT that continues from a cache, against the DiT on the whole sequence."""

from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_diffusion.backbones import DiT
from discrete_diffusion.backbones.attention import sdpa_attention

VOCAB, HIDDEN, BLOCKS, HEADS, CLASSES = 7, 16, 2, 2, 3
BATCH, LENGTH = 3, 6


def build(generator: torch.Generator, dtype: torch.dtype = torch.float64, **changes: Any) -> DiT:
    settings: dict[str, Any] = {"num_classes": CLASSES, "cond_size": 12, "causal": True}
    network = DiT(VOCAB, HIDDEN, BLOCKS, HEADS, **(settings | changes)).to(dtype).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network


def batch(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    xt = torch.randint(VOCAB, (BATCH, LENGTH), generator=generator)
    sigma = 3 * torch.rand(BATCH, generator=generator, dtype=torch.float64)
    return xt, sigma, torch.randint(CLASSES + 1, (BATCH,), generator=generator)


def compositions(length: int) -> list[list[int]]:
    """Every way to cut a sequence into pieces of at least one token."""
    if length == 0:
        return [[]]
    return [[first, *rest] for first in range(1, length + 1) for rest in compositions(length - first)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
@pytest.mark.parametrize("labeled", [True, False])
def test_every_split_is_the_whole(
    generator: torch.Generator, dtype: torch.dtype, tolerance: float, labeled: bool
) -> None:
    network = build(generator, dtype, num_classes=CLASSES if labeled else None)
    xt, sigma, y = batch(generator)
    labels = y if labeled else None
    expected = network.encode(xt, sigma, labels)
    pieces = compositions(LENGTH)
    assert len(pieces) == 2 ** (LENGTH - 1)
    for lengths in pieces:
        past, hiddens = None, []
        for tokens in xt.split(lengths, dim=1):
            hidden, past = network.extend(tokens, sigma, labels, past)
            hiddens.append(hidden)
        torch.testing.assert_close(torch.cat(hiddens, 1), expected, rtol=tolerance, atol=tolerance)
        assert past is not None
        assert [keys.shape for keys, _ in past] == [(BATCH, HEADS, LENGTH, HIDDEN // HEADS)] * BLOCKS
        assert all(keys.shape == values.shape and keys.dtype == dtype for keys, values in past)


def test_gradients_flow_into_the_past(generator: torch.Generator) -> None:
    network = build(generator).requires_grad_(False)
    xt, sigma, y = batch(generator)
    _, past = network.extend(xt[:, :3], sigma, y)
    flat = [tensor.requires_grad_() for pair in past for tensor in pair]

    def last(*tensors: Tensor) -> Tensor:
        pairs = tuple(zip(tensors[::2], tensors[1::2], strict=True))
        return network.extend(xt[:, 3:5], sigma, y, pairs)[0]

    assert torch.autograd.gradcheck(last, tuple(flat))
    gradients = torch.autograd.grad(last(*flat).square().sum(), flat)
    assert all(bool((gradient.abs().amax((1, 2, 3)) > 1e-6).all()) for gradient in gradients)


def test_the_past_is_not_changed(generator: torch.Generator) -> None:
    network = build(generator)
    xt, sigma, y = batch(generator)
    _, past = network.extend(xt[:, :3], sigma, y)
    before = [tensor.clone() for pair in past for tensor in pair]
    first = network.extend(xt[:, 3:], sigma, y, past)[0]
    assert torch.equal(network.extend(xt[:, 3:], sigma, y, past)[0], first)
    assert all(torch.equal(a, b) for a, b in zip(before, (t for pair in past for t in pair), strict=True))


def test_extending_under_autocast_is_encoding_under_autocast(generator: torch.Generator) -> None:
    network = build(generator, torch.float32)
    xt, sigma, y = batch(generator)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = network.encode(xt, sigma, y)
        first, past = network.extend(xt[:, :4], sigma, y)
        second, _ = network.extend(xt[:, 4:], sigma, y, past)
    hidden = torch.cat((first, second), 1)
    assert hidden.dtype == torch.float32
    assert float((hidden - expected).abs().max()) < 0.05 * float(expected.abs().max())


@pytest.mark.parametrize("new", [1, 2, 5])
def test_attention_of_the_last_queries_is_the_last_rows_of_attention(generator: torch.Generator, new: int) -> None:
    q, k, v = (torch.randn(2, 5, 3, 4, generator=generator, dtype=torch.float64) for _ in range(3))
    expected = sdpa_attention(q, k, v, causal=True)[:, -new:]
    torch.testing.assert_close(sdpa_attention(q[:, -new:], k, v, causal=True), expected, rtol=0, atol=1e-12)


def test_only_a_causal_network_can_be_extended(generator: torch.Generator) -> None:
    xt, sigma, y = batch(generator)
    with pytest.raises(ValueError, match="causal=True"):
        build(generator, causal=False).extend(xt, sigma, y)
