"""DiT against the published forward pass, and the contract of a network."""

import copy
import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_diffusion.backbones import DIT_MEDIUM, DIT_SMALL, DIT_TINY, DiT

VOCAB, HIDDEN, BLOCKS, HEADS, COND, CLASSES = 7, 16, 2, 2, 12, 3
BATCH, LENGTH = 3, 5


def randomized(network: DiT, generator: torch.Generator, scale: float = 0.3) -> DiT:
    """Every parameter random, those that start at zero or one included."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network


def build(generator: torch.Generator, **changes: Any) -> DiT:
    settings: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": HIDDEN,
        "num_blocks": BLOCKS,
        "num_heads": HEADS,
        "cond_size": COND,
        "num_classes": CLASSES,
    }
    return randomized(DiT(**(settings | changes)).double().eval(), generator)


@pytest.fixture
def xt(generator: torch.Generator) -> Tensor:
    return torch.randint(VOCAB, (BATCH, LENGTH), generator=generator)


@pytest.fixture
def sigma(generator: torch.Generator) -> Tensor:
    return 5 * torch.rand(BATCH, generator=generator, dtype=torch.float64)


@pytest.fixture
def y(generator: torch.Generator) -> Tensor:
    return torch.randint(CLASSES, (BATCH,), generator=generator)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def reference(weights: dict[str, Tensor], tokens: list[int], sigma: float, label: int | None, causal: bool) -> Tensor:
    """Logits of one sequence, as the papers' network computes them, a scalar at a time where that is bearable."""

    def silu(vector: Tensor) -> Tensor:
        return torch.tensor([value * sigmoid(value) for value in vector.tolist()], dtype=torch.float64)

    def gelu_tanh(value: float) -> float:
        return value / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)))

    def affine(name: str, vector: Tensor) -> Tensor:
        out = torch.einsum("oi,i->o", weights[f"{name}.weight"], vector)
        return out + weights[f"{name}.bias"] if f"{name}.bias" in weights else out

    def norm(name: str, vector: Tensor) -> Tensor:
        values = vector.tolist()
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        return (vector - mean) / math.sqrt(variance + 1e-5) * weights[f"{name}.weight"]

    def turn(vector: Tensor, position: int) -> Tensor:
        half = len(vector) // 2
        out = vector.clone()
        for pair in range(half):
            angle = position / 10_000 ** (2 * pair / len(vector))
            first, second = vector[pair], vector[pair + half]
            out[pair] = first * math.cos(angle) - second * math.sin(angle)
            out[pair + half] = second * math.cos(angle) + first * math.sin(angle)
        return out

    length, size = len(tokens), HIDDEN // HEADS
    frequencies = [10_000 ** (-index / 128) for index in range(128)]
    sinusoids = [math.cos(sigma * w) for w in frequencies] + [math.sin(sigma * w) for w in frequencies]
    condition = affine("sigma_map.mlp.0", torch.tensor(sinusoids, dtype=torch.float64))
    condition = silu(affine("sigma_map.mlp.2", silu(condition)))
    if label is not None:
        condition = condition + silu(weights["cond_map.embedding_table.weight"][label])

    x = [weights["vocab_embed.embedding"][token] for token in tokens]
    for block in range(BLOCKS):
        name = f"blocks.{block}"
        modulation = affine(f"{name}.adaLN_modulation", condition)
        shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp = modulation.reshape(6, HIDDEN)
        qkv = [
            affine(f"{name}.attn_qkv", norm(f"{name}.norm1", row) * (1 + scale_msa) + shift_msa).reshape(3, HEADS, size)
            for row in x
        ]
        attended = [torch.zeros(HIDDEN, dtype=torch.float64) for _ in range(length)]
        for head, i in product(range(HEADS), range(length)):
            seen = range(i + 1) if causal else range(length)
            query = turn(qkv[i][0, head], i)
            scores = [float(torch.dot(query, turn(qkv[j][1, head], j))) / math.sqrt(size) for j in seen]
            total = sum(math.exp(score) for score in scores)
            for j, score in zip(seen, scores, strict=True):
                attended[i][head * size : (head + 1) * size] += math.exp(score) / total * qkv[j][2, head]
        x = [row + gate_msa * affine(f"{name}.attn_out", out) for row, out in zip(x, attended, strict=True)]
        for i, row in enumerate(x):
            inner = affine(f"{name}.mlp.0", norm(f"{name}.norm2", row) * (1 + scale_mlp) + shift_mlp)
            inner = torch.tensor([gelu_tanh(value) for value in inner.tolist()], dtype=torch.float64)
            x[i] = row + gate_mlp * affine(f"{name}.mlp.2", inner)

    shift, scale = affine("output_layer.adaLN_modulation", condition).reshape(2, HIDDEN)
    final = [norm("output_layer.norm_final", row) * (1 + scale) + shift for row in x]
    return torch.stack([affine("output_layer.linear", row) for row in final])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("labeled", [False, True])
def test_forward_is_the_published_forward(
    generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor, causal: bool, labeled: bool
) -> None:
    network = build(generator, causal=causal, num_classes=CLASSES if labeled else None)
    labels = y if labeled else None
    expected = [
        reference(network.state_dict(), xt[i].tolist(), float(sigma[i]), int(y[i]) if labeled else None, causal)
        for i in range(BATCH)
    ]
    torch.testing.assert_close(network(xt, sigma, labels), torch.stack(expected), rtol=0, atol=1e-10)


def test_a_new_network_is_uniform(xt: Tensor, generator: torch.Generator) -> None:
    network = DiT(VOCAB, HIDDEN, BLOCKS, HEADS, num_classes=CLASSES)
    logits = network(xt, torch.rand(BATCH, generator=generator), torch.zeros(BATCH, dtype=torch.int64))
    assert torch.equal(logits, torch.zeros(BATCH, LENGTH, VOCAB))


def test_new_parameters_follow_the_published_initialization() -> None:
    torch.manual_seed(0)
    network = DiT(500, 64, 1, 2, num_classes=200)
    bound = 1 / math.sqrt(64)  # kaiming-uniform with a = sqrt(5) over 64 inputs
    embedding = network.vocab_embed.embedding
    assert bound * 0.99 < float(embedding.detach().abs().max()) <= bound
    assert float(embedding.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert network.cond_map is not None
    assert float(network.cond_map.embedding_table.weight.detach().std()) == pytest.approx(1, rel=0.02)
    assert all(bool((p == 1).all()) for name, p in network.named_parameters() if "norm" in name)


def test_causal_logits_do_not_read_the_future(generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor) -> None:
    causal, bidirectional = build(generator, causal=True), build(generator)
    for cut in range(1, LENGTH):
        other = xt.clone()
        other[:, cut:] = (other[:, cut:] + 1) % VOCAB
        torch.testing.assert_close(causal(other, sigma, y)[:, :cut], causal(xt, sigma, y)[:, :cut], rtol=0, atol=1e-12)
        changed = (bidirectional(other, sigma, y) - bidirectional(xt, sigma, y))[:, :cut].abs().amax(-1)
        assert bool((changed > 1e-6).all())
        assert bool(((causal(other, sigma, y) - causal(xt, sigma, y))[:, cut:].abs().amax(-1) > 1e-6).all())


def test_no_label_is_the_null_label(generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor) -> None:
    network = build(generator)
    null = torch.full((BATCH,), CLASSES)
    torch.testing.assert_close(network(xt, sigma), network(xt, sigma, null), rtol=0, atol=1e-12)
    assert not torch.allclose(network(xt, sigma), network(xt, sigma, y), atol=1e-3)


def test_rows_are_independent(generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor) -> None:
    network = build(generator)
    alone = torch.cat([network(xt[i : i + 1], sigma[i : i + 1], y[i : i + 1]) for i in range(BATCH)])
    torch.testing.assert_close(network(xt, sigma, y), alone, rtol=0, atol=1e-12)


def test_decode_of_encode_is_forward(generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor) -> None:
    network = build(generator)
    hidden = network.encode(xt, sigma, y)
    assert hidden.shape == (BATCH, LENGTH, HIDDEN)
    assert torch.equal(network.decode(hidden, sigma, y), network(xt, sigma, y))
    at = xt > 2
    assert torch.equal(network.decode(hidden, sigma, y, at), network(xt, sigma, y, at))
    row, column = at.nonzero(as_tuple=True)
    tokens = network.decode_tokens(hidden[row, column], sigma[row], y[row])
    torch.testing.assert_close(tokens, network(xt, sigma, y, at), rtol=0, atol=1e-12)


@pytest.mark.parametrize("density", [0.0, 0.4, 1.0])
def test_at_selects_positions(generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor, density: float) -> None:
    network = build(generator)
    at = torch.rand(xt.shape, generator=generator) < density
    expected = network(xt, sigma, y)[at]
    assert expected.shape == (int(at.sum()), VOCAB)
    torch.testing.assert_close(network(xt, sigma, y, at), expected, rtol=0, atol=1e-12)


def test_without_time_conditioning_sigma_is_zero(generator: torch.Generator, xt: Tensor, sigma: Tensor) -> None:
    network = build(generator)
    blind = copy.deepcopy(network)
    blind.time_conditioning = False
    assert torch.equal(blind(xt, sigma), network(xt, torch.zeros_like(sigma)))
    assert not torch.allclose(network(xt, sigma), blind(xt, sigma), atol=1e-3)


def test_dropout_is_on_in_training_alone(generator: torch.Generator, xt: Tensor, sigma: Tensor) -> None:
    network = build(generator, dropout=0.5)
    assert torch.equal(network(xt, sigma), network(xt, sigma))
    without = build(generator, dropout=0.0)
    without.load_state_dict(network.state_dict())
    assert torch.equal(network(xt, sigma), without.train()(xt, sigma))
    network.train()
    assert not torch.equal(network(xt, sigma), network(xt, sigma))


def test_gradients_reach_every_parameter(generator: torch.Generator, xt: Tensor, sigma: Tensor) -> None:
    labels = torch.tensor([0, 1, CLASSES])
    network = build(generator, vocab_size=VOCAB)
    (network(xt, sigma, labels) * torch.randn(BATCH, LENGTH, VOCAB, generator=generator)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().sum() > 0), name


@pytest.mark.parametrize(("size", "hidden"), [(DIT_TINY, 512), (DIT_SMALL, 768), (DIT_MEDIUM, 1024)])
def test_state_dict_has_the_published_names_and_shapes(size: dict[str, int], hidden: int) -> None:
    blocks = {512: 8, 768: 12, 1024: 24}[hidden]
    expected: dict[str, tuple[int, ...]] = {
        "vocab_embed.embedding": (40, hidden),
        "sigma_map.mlp.0.weight": (128, 256),
        "sigma_map.mlp.0.bias": (128,),
        "sigma_map.mlp.2.weight": (128, 128),
        "sigma_map.mlp.2.bias": (128,),
        "cond_map.embedding_table.weight": (3, 128),
        "output_layer.norm_final.weight": (hidden,),
        "output_layer.linear.weight": (40, hidden),
        "output_layer.linear.bias": (40,),
        "output_layer.adaLN_modulation.weight": (2 * hidden, 128),
        "output_layer.adaLN_modulation.bias": (2 * hidden,),
    }
    for block in range(blocks):
        expected |= {
            f"blocks.{block}.norm1.weight": (hidden,),
            f"blocks.{block}.attn_qkv.weight": (3 * hidden, hidden),
            f"blocks.{block}.attn_out.weight": (hidden, hidden),
            f"blocks.{block}.norm2.weight": (hidden,),
            f"blocks.{block}.mlp.0.weight": (4 * hidden, hidden),
            f"blocks.{block}.mlp.0.bias": (4 * hidden,),
            f"blocks.{block}.mlp.2.weight": (hidden, 4 * hidden),
            f"blocks.{block}.mlp.2.bias": (hidden,),
            f"blocks.{block}.adaLN_modulation.weight": (6 * hidden, 128),
            f"blocks.{block}.adaLN_modulation.bias": (6 * hidden,),
        }
    with torch.device("meta"):
        network = DiT(vocab_size=40, num_classes=2, **size)
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == expected
    assert network.blocks[0].num_heads == {512: 8, 768: 12, 1024: 16}[hidden]


def test_a_network_without_labels_has_no_table(generator: torch.Generator, xt: Tensor, sigma: Tensor) -> None:
    network = build(generator, num_classes=None)
    assert not any(name.startswith("cond_map") for name in network.state_dict())
    with pytest.raises(ValueError, match="num_classes"):
        network(xt, sigma, torch.zeros(BATCH, dtype=torch.int64))


@pytest.mark.parametrize("wrong", [-1, CLASSES + 1])
def test_labels_out_of_range_raise_on_the_cpu(
    generator: torch.Generator, xt: Tensor, sigma: Tensor, wrong: int
) -> None:
    with pytest.raises(IndexError):
        build(generator)(xt, sigma, torch.tensor([0, wrong, 1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 18, "num_heads": 4}, "multiple of 2"),
        ({"hidden_size": 15, "num_heads": 3}, "multiple of 2"),
        ({"num_blocks": 0}, "`num_blocks` >= 1, got 0"),
        ({"vocab_size": 0}, "`vocab_size` >= 1, got 0"),
        ({"num_heads": 0}, "`num_heads` >= 1, got 0"),
        ({"cond_size": -1}, "`cond_size` >= 1, got -1"),
        ({"dropout": 1.0}, "`dropout` < 1, got 1.0"),
        ({"num_classes": 0}, "`num_classes` >= 1 or None, got 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"vocab_size": VOCAB, "hidden_size": HIDDEN, "num_blocks": 1, "num_heads": HEADS}
    with pytest.raises(ValueError, match=message):
        DiT(**(settings | change))
