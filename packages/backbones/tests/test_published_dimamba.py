"""Our DiMamba with the weights of published ones, against their forward pass written down anew."""

import math
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from discrete_diffusion.backbones import DiMamba

TOLERANCE = 1e-4
SINUSOIDS = 256
STATE, WINDOW, EXPAND = 16, 4, 2
"""Sizes that no published configuration changes."""
MIXER = "model.bimamba.backbone"


class Size(NamedTuple):
    """Sizes by their published names."""

    vocab_size: int
    hidden_size: int
    cond_dim: int
    n_blocks: int
    num_classes: int | None
    time_conditioning: bool
    length: int
    tied: bool = True
    batch: int = 2


SIZES = {
    "udlm of species": Size(12, 64, 128, 3, 10, True, 50),
    "mdlm of species": Size(12, 48, 32, 2, 10, False, 33),
    "without labels": Size(12, 32, 16, 2, None, True, 20),
    "directions of their own": Size(7, 24, 8, 2, 3, True, 17, tied=False),
    "a rank that is rounded up": Size(5, 20, 9, 1, 2, True, 6, tied=False),
    "shorter than the window": Size(5, 16, 8, 2, None, False, 2),
}


def shapes(size: Size) -> dict[str, tuple[int, ...]]:
    """Every name of the published state dict. Of tied directions it has the projections twice."""
    hidden, cond, inner, rank = size.hidden_size, size.cond_dim, EXPAND * size.hidden_size, -(-size.hidden_size // 16)
    named: dict[str, tuple[int, ...]] = {
        "sigma_map.mlp.0.weight": (cond, SINUSOIDS),
        "sigma_map.mlp.0.bias": (cond,),
        "sigma_map.mlp.2.weight": (cond, cond),
        "sigma_map.mlp.2.bias": (cond,),
    }
    if size.num_classes is not None:
        named["cond_map.embedding_table.weight"] = (size.num_classes + 1, cond)
    named[f"{MIXER}.embeddings.word_embeddings.weight"] = (size.vocab_size, hidden)
    for layer in (f"{MIXER}.layers.{index}" for index in range(size.n_blocks)):
        for direction in ("mamba_fwd", "mamba_rev"):
            for name, shape in {
                "A_log": (inner, STATE),
                "D": (inner,),
                "in_proj.weight": (2 * inner, hidden),
                "conv1d.weight": (inner, 1, WINDOW),
                "conv1d.bias": (inner,),
                "x_proj.weight": (rank + 2 * STATE, inner),
                "dt_proj.weight": (inner, rank),
                "dt_proj.bias": (inner,),
                "out_proj.weight": (hidden, inner),
            }.items():
                named[f"{layer}.mixer.{direction}.{name}"] = shape
        named[f"{layer}.norm.weight"] = (hidden,)
        named[f"{layer}.adaLN_modulation.weight"] = (3 * hidden, cond)
        named[f"{layer}.adaLN_modulation.bias"] = (3 * hidden,)
    named[f"{MIXER}.adaLN_modulation_final.weight"] = (2 * hidden, cond)
    named[f"{MIXER}.adaLN_modulation_final.bias"] = (2 * hidden,)
    named[f"{MIXER}.norm_f.weight"] = (hidden,)
    named["model.lm_head.weight"] = (size.vocab_size, hidden)
    return named


def random_weights(size: Size, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights of every name, of the order that trained ones have: rates from 1 to 16, steps around 0.02."""
    weights = {}
    for name, shape in shapes(size).items():
        fan = math.prod(shape[1:]) if len(shape) > 1 and "embed" not in name else 1
        drawn = torch.randn(shape, generator=generator) / math.sqrt(fan)
        if "norm" in name or name.endswith(".D"):
            drawn = 1 + 0.3 * drawn
        if name.endswith("A_log"):
            drawn = torch.arange(1.0, STATE + 1).log() + 0.1 * drawn
        if name.endswith("dt_proj.bias"):
            drawn = -4 + drawn
        tied = size.tied and name.endswith(("mamba_rev.in_proj.weight", "mamba_rev.out_proj.weight"))
        weights[name] = weights[name.replace("mamba_rev", "mamba_fwd")] if tied else drawn
    return weights


class Recorder(dict[str, Tensor]):
    """A state dict that knows which of its weights were read."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__(weights)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.read.add(name)
        return super().__getitem__(name)


def mamba(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """One direction, (b, l, d) to (b, l, d): in_proj, causal convolution, SiLU, selective scan, D u, gate, out_proj."""
    u, gate = F.linear(x, weights[f"{name}.in_proj.weight"]).chunk(2, -1)
    kernel, padded = weights[f"{name}.conv1d.weight"][:, 0], F.pad(u, (0, 0, WINDOW - 1, 0))
    u = sum(padded[:, k : k + u.shape[1]] * kernel[:, k] for k in range(WINDOW)) + weights[f"{name}.conv1d.bias"]
    u = u * torch.sigmoid(u)
    rank = weights[f"{name}.dt_proj.weight"].shape[1]
    low, b, c = F.linear(u, weights[f"{name}.x_proj.weight"]).split([rank, STATE, STATE], -1)
    steps = torch.log1p(torch.exp(low @ weights[f"{name}.dt_proj.weight"].T + weights[f"{name}.dt_proj.bias"]))
    rates = -torch.exp(weights[f"{name}.A_log"])
    h, read = torch.zeros(len(x), *rates.shape), []
    for t in range(x.shape[1]):
        dt = steps[:, t, :, None]
        h = torch.exp(dt * rates) * h + dt * b[:, t, None] * u[:, t, :, None]
        read.append(torch.einsum("bn,ben->be", c[:, t], h))
    y = torch.stack(read, 1) + weights[f"{name}.D"] * u
    return F.linear(y * gate * torch.sigmoid(gate), weights[f"{name}.out_proj.weight"])


def published(weights: dict[str, Tensor], size: Size, tokens: Tensor, sigma: Tensor, cond: Tensor | None) -> Tensor:
    """Logits (b, l, v) as the published network computes them, without dropout, in float32."""

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weights[f"{name}.weight"]

    if not size.time_conditioning:
        sigma = torch.zeros_like(sigma)
    half = SINUSOIDS // 2
    angles = sigma[:, None] * torch.exp(-math.log(10_000) * torch.arange(half) / half)
    embedded = linear("sigma_map.mlp.0", torch.cat((angles.cos(), angles.sin()), -1))
    c = F.silu(linear("sigma_map.mlp.2", F.silu(embedded)))
    if cond is not None:
        c = c + F.silu(weights["cond_map.embedding_table.weight"][cond])

    x = weights[f"{MIXER}.embeddings.word_embeddings.weight"][tokens]
    for layer in (f"{MIXER}.layers.{index}" for index in range(size.n_blocks)):
        shift, scale, gate = linear(f"{layer}.adaLN_modulation", c)[:, None].chunk(3, -1)
        inner = norm(f"{layer}.norm", x) * (1 + scale) + shift
        forward = mamba(weights, f"{layer}.mixer.mamba_fwd", inner)
        backward = mamba(weights, f"{layer}.mixer.mamba_rev", inner.flip(1)).flip(1)
        x = x + gate * (forward + backward)
    shift, scale = linear(f"{MIXER}.adaLN_modulation_final", c)[:, None].chunk(2, -1)
    return F.linear(norm(f"{MIXER}.norm_f", x) * (1 + scale) + shift, weights["model.lm_head.weight"])


def renamed(size: Size, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same by our names; our output layer has a bias besides."""
    named = {name: weight for name, weight in weights.items() if name.startswith(("sigma_map", "cond_map"))}
    named["vocab_embed.embedding"] = weights[f"{MIXER}.embeddings.word_embeddings.weight"]
    for index in range(size.n_blocks):
        theirs, ours = f"{MIXER}.layers.{index}", f"blocks.{index}"
        for name in ("norm.weight", "adaLN_modulation.weight", "adaLN_modulation.bias"):
            named[f"{ours}.{name}"] = weights[f"{theirs}.{name}"]
        for number, direction in enumerate(("mamba_fwd", "mamba_rev")):
            for name in (
                "A_log",
                "D",
                "conv1d.weight",
                "conv1d.bias",
                "x_proj.weight",
                "dt_proj.weight",
                "dt_proj.bias",
            ):
                named[f"{ours}.mixer.directions.{number}.{name}"] = weights[f"{theirs}.mixer.{direction}.{name}"]
            for name in ("in_proj", "out_proj") if number == 0 or not size.tied else ():
                named[f"{ours}.mixer.{name}.{number}.weight"] = weights[f"{theirs}.mixer.{direction}.{name}.weight"]
    named["output_layer.norm_final.weight"] = weights[f"{MIXER}.norm_f.weight"]
    named["output_layer.adaLN_modulation.weight"] = weights[f"{MIXER}.adaLN_modulation_final.weight"]
    named["output_layer.adaLN_modulation.bias"] = weights[f"{MIXER}.adaLN_modulation_final.bias"]
    named["output_layer.linear.weight"] = weights["model.lm_head.weight"]
    named["output_layer.linear.bias"] = torch.zeros(size.vocab_size)
    return named


def filled(size: Size, weights: dict[str, Tensor]) -> DiMamba:
    network = DiMamba(
        size.vocab_size,
        size.hidden_size,
        size.n_blocks,
        STATE,
        WINDOW,
        EXPAND,
        size.cond_dim,
        num_classes=size.num_classes,
        time_conditioning=size.time_conditioning,
        tie_directions=size.tied,
    ).eval()
    network.load_state_dict(renamed(size, weights))
    return network


def inputs(size: Size, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tokens, and noise levels from none to all, sigma = -log alpha up to log 1000."""
    tokens = torch.randint(size.vocab_size, (size.batch, size.length), generator=generator)
    return tokens, torch.linspace(0.0, math.log(1000), size.batch)


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_the_forward_pass_is_the_published_one(size: Size, generator: torch.Generator) -> None:
    weights = Recorder(random_weights(size, generator))
    network, (tokens, sigma) = filled(size, dict(weights)), inputs(size, generator)
    labels: list[Tensor | None] = [None]
    if size.num_classes is not None:
        # The null label is a label too: the last row.
        labels = [torch.tensor([label, size.num_classes]) for label in (0, size.num_classes - 1, size.num_classes)]
    for y in labels:
        expected = published(weights, size, tokens, sigma, y)
        assert expected.abs().max() > 1
        torch.testing.assert_close(network(tokens, sigma, y), expected, rtol=0, atol=TOLERANCE)
    assert weights.read == set(weights)


@torch.no_grad()
def test_without_a_label_ours_adds_the_null_label_where_the_published_one_adds_nothing(
    generator: torch.Generator,
) -> None:
    size = SIZES["udlm of species"]
    weights = random_weights(size, generator)
    network, (tokens, sigma) = filled(size, weights), inputs(size, generator)
    null = torch.tensor([size.num_classes] * size.batch)
    bare, expected = (published(weights, size, tokens, sigma, cond) for cond in (None, null))
    torch.testing.assert_close(network(tokens, sigma), expected, rtol=0, atol=TOLERANCE)
    assert not torch.allclose(bare, expected, atol=0.1)


SMALL = Size(5, 16, 8, 1, 2, True, 6, tied=False, batch=1)


@torch.no_grad()
@pytest.mark.parametrize("name", shapes(SMALL))
def test_every_weight_counts(generator: torch.Generator, name: str) -> None:
    """The reference moves with each weight, and ours with it: neither leaves one out."""
    weights = random_weights(SMALL, generator)
    tokens, sigma, y = torch.tensor([[3, 1, 4, 1, 0, 2]]), torch.tensor([0.7]), torch.tensor([1])
    before = published(weights, SMALL, tokens, sigma, y)
    weights[name] = weights[name] + 0.3 * torch.randn(weights[name].shape, generator=generator)
    expected = published(weights, SMALL, tokens, sigma, y)
    assert not torch.allclose(expected, before, atol=10 * TOLERANCE)
    torch.testing.assert_close(filled(SMALL, weights)(tokens, sigma, y), expected, rtol=0, atol=TOLERANCE)


@torch.no_grad()
def test_from_left_to_right_with_labels_alone(generator: torch.Generator) -> None:
    """Published models of this kind have no map of the noise level: one of zeros adds SiLU(0) = 0."""
    weights = random_weights(SMALL, generator)
    weights |= {name: torch.zeros_like(weight) for name, weight in weights.items() if name.startswith("sigma_map")}
    # Without a second direction nothing is added to the first.
    weights |= {name: torch.zeros_like(weight) for name, weight in weights.items() if "mamba_rev.out_proj" in name}
    network = DiMamba(
        SMALL.vocab_size, SMALL.hidden_size, 1, STATE, WINDOW, EXPAND, SMALL.cond_dim, num_classes=2, causal=True
    ).eval()
    kept = {
        name: weight
        for name, weight in renamed(SMALL, weights).items()
        if not any(part in name for part in ("directions.1.", "in_proj.1.", "out_proj.1."))
    }
    network.load_state_dict(kept)
    tokens, sigma, y = torch.tensor([[3, 1, 4, 1, 0, 2]]), torch.tensor([0.7]), torch.tensor([1])
    expected = published(weights, SMALL, tokens, sigma, y)
    torch.testing.assert_close(network(tokens, sigma, y), expected, rtol=0, atol=TOLERANCE)
    hidden, _ = network.extend(tokens, sigma, y)
    torch.testing.assert_close(network.decode(hidden, sigma, y), expected, rtol=0, atol=TOLERANCE)
