"""Our DiT with the weights of published UDLM and MDLM checkpoints, against their forward pass written down anew."""

import math
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from discrete_diffusion.backbones import DiT

TOLERANCE = 1e-4
SINUSOIDS = 256


class Size(NamedTuple):
    """Sizes by their published names."""

    vocab_size: int
    hidden_dim: int
    cond_dim: int
    n_blocks: int
    n_heads: int
    cfg_num_classes: int | None
    time_conditioning: bool
    length: int
    batch: int = 2


SIZES = {
    "udlm of molecules": Size(40, 64, 128, 3, 4, 2, True, 32),
    "udlm without labels": Size(27, 48, 32, 2, 3, None, True, 9),
    "udlm of ten classes": Size(12, 32, 16, 4, 1, 10, True, 100),
    "mdlm": Size(101, 96, 129, 2, 12, None, False, 64),
    "mdlm with labels and time": Size(9, 16, 8, 1, 2, 3, True, 1),
    "a head of two": Size(5, 8, 4, 2, 4, None, False, 17),
}


def shapes(size: Size) -> dict[str, tuple[int, ...]]:
    """Every name of the published state dict."""
    hidden, cond = size.hidden_dim, size.cond_dim
    named: dict[str, tuple[int, ...]] = {
        "vocab_embed.embedding": (size.vocab_size, hidden),
        "sigma_map.mlp.0.weight": (cond, SINUSOIDS),
        "sigma_map.mlp.0.bias": (cond,),
        "sigma_map.mlp.2.weight": (cond, cond),
        "sigma_map.mlp.2.bias": (cond,),
        "rotary_emb.inv_freq": (hidden // size.n_heads // 2,),
        "output_layer.norm_final.weight": (hidden,),
        "output_layer.linear.weight": (size.vocab_size, hidden),
        "output_layer.linear.bias": (size.vocab_size,),
        "output_layer.adaLN_modulation.weight": (2 * hidden, cond),
        "output_layer.adaLN_modulation.bias": (2 * hidden,),
    }
    if size.cfg_num_classes is not None:
        named["cond_map.embedding_table.weight"] = (size.cfg_num_classes + 1, cond)
    for block in range(size.n_blocks):
        for name, shape in {
            "norm1.weight": (hidden,),
            "attn_qkv.weight": (3 * hidden, hidden),
            "attn_out.weight": (hidden, hidden),
            "norm2.weight": (hidden,),
            "mlp.0.weight": (4 * hidden, hidden),
            "mlp.0.bias": (4 * hidden,),
            "mlp.2.weight": (hidden, 4 * hidden),
            "mlp.2.bias": (hidden,),
            "adaLN_modulation.weight": (6 * hidden, cond),
            "adaLN_modulation.bias": (6 * hidden,),
        }.items():
            named[f"blocks.{block}.{name}"] = shape
    return named


def random_weights(size: Size, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights of every name, of the order that trained ones have: activations stay near 1, logits go to some tens."""
    weights = {}
    for name, shape in shapes(size).items():
        fan = shape[-1] if len(shape) == 2 and "embed" not in name else 1
        drawn = torch.randn(shape, generator=generator) / math.sqrt(fan)
        weights[name] = 1 + 0.3 * drawn if "norm" in name else drawn
    pairs = torch.arange(0, size.hidden_dim // size.n_heads, 2).float()
    weights["rotary_emb.inv_freq"] = 1 / 10_000 ** (pairs / (size.hidden_dim // size.n_heads))
    return weights


class Recorder(dict[str, Tensor]):
    """A state dict that knows which of its weights were read."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__(weights)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.read.add(name)
        return super().__getitem__(name)


def published(weights: dict[str, Tensor], size: Size, tokens: Tensor, sigma: Tensor, cond: Tensor | None) -> Tensor:
    """Logits (b, l, v) as the published network computes them, without dropout, in float32."""

    def linear(name: str, x: Tensor, bias: bool = True) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"] if bias else None)

    def norm(name: str, x: Tensor) -> Tensor:
        centered = x - x.mean(-1, keepdim=True)
        return centered / (centered.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weights[f"{name}.weight"]

    def gelu(x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    def turned(x: Tensor) -> Tensor:
        # Not interleaved: entry i of a head goes with entry i + half of it.
        angles = torch.arange(length)[:, None] * weights["rotary_emb.inv_freq"]
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        first, second = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
        return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)

    (batch, length), width = tokens.shape, size.hidden_dim // size.n_heads
    half = SINUSOIDS // 2
    if not size.time_conditioning:
        sigma = torch.zeros_like(sigma)
    angles = sigma[:, None] * torch.exp(-math.log(10_000) * torch.arange(half) / half)
    embedded = linear("sigma_map.mlp.0", torch.cat((angles.cos(), angles.sin()), -1))
    c = F.silu(linear("sigma_map.mlp.2", F.silu(embedded)))
    if cond is not None:
        c = c + F.silu(weights["cond_map.embedding_table.weight"][cond])

    x = weights["vocab_embed.embedding"][tokens]
    for block in (f"blocks.{index}" for index in range(size.n_blocks)):
        modulation = linear(f"{block}.adaLN_modulation", c)[:, None].split(size.hidden_dim, -1)
        shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp = modulation
        inner = norm(f"{block}.norm1", x) * (1 + scale_msa) + shift_msa
        qkv = linear(f"{block}.attn_qkv", inner, bias=False).reshape(batch, length, 3, size.n_heads, width)
        q, k, v = turned(qkv[:, :, 0]), turned(qkv[:, :, 1]), qkv[:, :, 2]
        scores = torch.einsum("bihk,bjhk->bhij", q, k) / math.sqrt(width)
        attended = torch.einsum("bhij,bjhk->bihk", scores.softmax(-1), v).reshape(batch, length, -1)
        x = x + gate_msa * linear(f"{block}.attn_out", attended, bias=False)
        inner = norm(f"{block}.norm2", x) * (1 + scale_mlp) + shift_mlp
        x = x + gate_mlp * linear(f"{block}.mlp.2", gelu(linear(f"{block}.mlp.0", inner)))
    shift, scale = linear("output_layer.adaLN_modulation", c)[:, None].split(size.hidden_dim, -1)
    return linear("output_layer.linear", norm("output_layer.norm_final", x) * (1 + scale) + shift)


def ours(size: Size) -> DiT:
    return DiT(
        size.vocab_size,
        size.hidden_dim,
        size.n_blocks,
        size.n_heads,
        cond_size=size.cond_dim,
        num_classes=size.cfg_num_classes,
        time_conditioning=size.time_conditioning,
    ).eval()


def filled(size: Size, weights: dict[str, Tensor]) -> DiT:
    network = ours(size)
    network.load_state_dict({name: weight for name, weight in weights.items() if name != "rotary_emb.inv_freq"})
    return network


def inputs(size: Size, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tokens, and noise levels from none to all, sigma = -log alpha up to log 1000."""
    tokens = torch.randint(size.vocab_size, (size.batch, size.length), generator=generator)
    return tokens, torch.linspace(0.0, math.log(1000), size.batch)


@pytest.fixture(params=SIZES)
def size(request: pytest.FixtureRequest) -> Size:
    return SIZES[request.param]


def test_names_shapes_and_dtypes_are_the_published_ones(size: Size) -> None:
    expected = {name: (shape, torch.float32) for name, shape in shapes(size).items() if name != "rotary_emb.inv_freq"}
    found = {name: (tuple(weight.shape), weight.dtype) for name, weight in ours(size).state_dict().items()}
    assert found == expected
    assert all(isinstance(weight, torch.nn.Parameter) for weight in ours(size).state_dict(keep_vars=True).values())


@torch.no_grad()
def test_the_forward_pass_is_the_published_one(size: Size, generator: torch.Generator) -> None:
    weights = Recorder(random_weights(size, generator))
    network, (tokens, sigma) = filled(size, dict(weights)), inputs(size, generator)
    labels: list[Tensor | None] = [None]
    if size.cfg_num_classes is not None:
        # The null label is a label too: the last row.
        labels = [torch.tensor([label, size.cfg_num_classes]) for label in range(size.cfg_num_classes + 1)]
    for y in labels:
        expected = published(weights, size, tokens, sigma, y)
        assert expected.abs().max() > 1
        torch.testing.assert_close(network(tokens, sigma, y), expected, rtol=0, atol=TOLERANCE)
    assert weights.read == set(weights)


@torch.no_grad()
def test_without_a_label_ours_adds_the_null_label_where_the_published_one_adds_nothing(
    generator: torch.Generator,
) -> None:
    size = SIZES["udlm of molecules"]
    weights = random_weights(size, generator)
    network, (tokens, sigma) = filled(size, weights), inputs(size, generator)
    null = torch.tensor([size.cfg_num_classes] * size.batch)
    bare, expected = (published(weights, size, tokens, sigma, cond) for cond in (None, null))
    torch.testing.assert_close(network(tokens, sigma), expected, rtol=0, atol=TOLERANCE)
    assert not torch.allclose(bare, expected, atol=0.1)


SMALL = SIZES["udlm of molecules"]._replace(n_blocks=1, batch=1, length=4)


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in shapes(SMALL) if name != "rotary_emb.inv_freq"])
def test_every_weight_counts(generator: torch.Generator, name: str) -> None:
    """The reference moves with each weight, and ours with it: neither leaves one out."""
    weights = random_weights(SMALL, generator)
    tokens, sigma, y = torch.tensor([[3, 1, 4, 1]]), torch.tensor([0.7]), torch.tensor([1])
    before = published(weights, SMALL, tokens, sigma, y)
    weights[name] = weights[name] + 0.2 * torch.randn(weights[name].shape, generator=generator)
    expected = published(weights, SMALL, tokens, sigma, y)
    assert not torch.allclose(expected, before, atol=1e-2)
    torch.testing.assert_close(filled(SMALL, weights)(tokens, sigma, y), expected, rtol=0, atol=TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_narrow_weights_are_computed_with_in_float32(generator: torch.Generator, dtype: torch.dtype) -> None:
    size = SIZES["mdlm"]
    narrow = {name: weight.to(dtype) for name, weight in random_weights(size, generator).items()}
    wide: dict[str, Any] = {name: weight.float() for name, weight in narrow.items()}
    wide["rotary_emb.inv_freq"] = random_weights(size, generator)["rotary_emb.inv_freq"]
    network, (tokens, sigma) = filled(size, narrow), inputs(size, generator)
    assert {weight.dtype for weight in network.state_dict().values()} == {torch.float32}
    expected = published(wide, size, tokens, sigma, None)
    torch.testing.assert_close(network(tokens, sigma), expected, rtol=0, atol=TOLERANCE)
