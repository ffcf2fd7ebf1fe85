"""UNet against a forward pass written out, and the contract of a network."""

import copy
import math
from itertools import product
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from discrete_diffusion.backbones.truncated_logistic import truncated_logistic
from discrete_diffusion.backbones.unet import UNet
from discrete_diffusion.backbones.unet_layers import pixel_planes

HEIGHT, WIDTH, CHANNELS, LEVELS, VOCAB, CLASSES = 4, 6, 2, 5, 7, 3
HIDDEN, HEADS, COND = 8, 2, 6
BATCH, LENGTH, SPECIAL = 3, HEIGHT * WIDTH * CHANNELS, VOCAB - LEVELS
OUTPUTS: list[Literal["categorical", "truncated_logistic"]] = ["categorical", "truncated_logistic"]
SETTINGS: dict[str, Any] = {
    "vocab_size": VOCAB,
    "height": HEIGHT,
    "width": WIDTH,
    "channels": CHANNELS,
    "hidden_channels": HIDDEN,
    "multipliers": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (4,),
    "num_heads": HEADS,
    "cond_size": COND,
    "num_classes": CLASSES,
    "levels": LEVELS,
}


def build(generator: torch.Generator, **changes: Any) -> UNet:
    """Every parameter random, those that start at zero or one included."""
    network = UNet(**(SETTINGS | changes)).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network


@pytest.fixture
def xt(generator: torch.Generator) -> Tensor:
    return torch.randint(VOCAB, (BATCH, LENGTH), generator=generator)


@pytest.fixture
def sigma(generator: torch.Generator) -> Tensor:
    return 5 * torch.rand(BATCH, generator=generator, dtype=torch.float64)


@pytest.fixture
def y(generator: torch.Generator) -> Tensor:
    return torch.randint(CLASSES, (BATCH,), generator=generator)


def position(i: int, j: int, k: int) -> int:
    return (i * WIDTH + j) * CHANNELS + k


def reference(weights: dict[str, Tensor], x: Tensor, condition: Tensor) -> Tensor:
    """The last convolution's result for planes x (b, p, h, w): two resolutions, one block each, attention at both."""

    def norm(name: str, h: Tensor) -> Tensor:
        size = h.shape[1] // min(h.shape[1] // 4, 32)  # channels a group
        groups = h.reshape(len(h), -1, size, *h.shape[2:])
        mean = groups.mean((2, 3, 4), keepdim=True)
        deviation = (groups.var((2, 3, 4), correction=0, keepdim=True) + 1e-6).sqrt()
        flat = ((groups - mean) / deviation).reshape(h.shape)
        return flat * weights[f"{name}.weight"][:, None, None] + weights[f"{name}.bias"][:, None, None]

    def conv(name: str, h: Tensor, **options: Any) -> Tensor:
        return F.conv2d(h, weights[f"{name}.weight"], weights[f"{name}.bias"], **options)

    def silu(h: Tensor) -> Tensor:
        return h / (1 + torch.exp(-h))

    def residual(name: str, h: Tensor) -> Tensor:
        shift = condition @ weights[f"{name}.cond_linear.weight"].T + weights[f"{name}.cond_linear.bias"]
        branch = conv(f"{name}.conv1", silu(norm(f"{name}.norm1", h)), padding=1) + shift[:, :, None, None]
        branch = conv(f"{name}.conv2", silu(norm(f"{name}.norm2", branch)), padding=1)
        straight = conv(f"{name}.shortcut", h) if f"{name}.shortcut.weight" in weights else h
        return (straight + branch) / 2**0.5

    def attention(name: str, h: Tensor) -> Tensor:
        heads = conv(f"{name}.qkv", norm(f"{name}.norm", h)).reshape(len(h), 3, HEADS, -1, *h.shape[2:])
        q, k, v = heads[:, 0], heads[:, 1], heads[:, 2]
        scores = torch.einsum("bnchw,bncij->bnhwij", q, k) / q.shape[2] ** 0.5
        shares = scores.flatten(4).softmax(-1).reshape(scores.shape)
        attended = torch.einsum("bnhwij,bncij->bnchw", shares, v).flatten(1, 2)
        return (h + conv(f"{name}.out", attended)) / 2**0.5

    def stage(name: str, h: Tensor) -> Tensor:
        return attention(f"{name}.attention", residual(f"{name}.residual", h))

    first = conv("down.conv_in", x, padding=1)
    second = stage("down.steps.0", first)
    third = conv("down.steps.1.conv", F.pad(second, (0, 1, 0, 1)), stride=2)
    fourth = residual("down.steps.2.residual", third)
    h = residual("down.middle2", stage("down.middle1", fourth))
    h = residual("up.steps.0.residual", torch.cat((h, fourth), 1))
    h = residual("up.steps.1.residual", torch.cat((h, third), 1))
    h = conv("up.steps.2.conv", h.repeat_interleave(2, 2).repeat_interleave(2, 3), padding=1)
    h = stage("up.steps.3", torch.cat((h, second), 1))
    h = stage("up.steps.4", torch.cat((h, first), 1))
    return conv("conv_final", silu(norm("norm_final", h)), padding=1)


@pytest.mark.parametrize("output", OUTPUTS)
def test_forward_is_the_network_written_out(
    generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor, output: Literal["categorical"]
) -> None:
    network = build(generator, output=output)
    weights = network.state_dict()
    planes = torch.zeros(BATCH, CHANNELS * (1 + SPECIAL), HEIGHT, WIDTH, dtype=torch.float64)
    for b, i, j, k in product(range(BATCH), range(HEIGHT), range(WIDTH), range(CHANNELS)):
        token = int(xt[b, position(i, j, k)])
        if token < LEVELS:
            planes[b, k, i, j] = {0: -1, 1: -0.5, 2: 0, 3: 0.5, 4: 1}[token]
        else:
            planes[b, (1 + token - LEVELS) * CHANNELS + k, i, j] = 1
    assert network.cond_map is not None
    condition = F.silu(network.sigma_map(sigma)) + F.silu(network.cond_map(y))
    numbers = reference(weights, planes, condition)
    logits = network(xt, sigma, y)
    assert logits.shape == (BATCH, LENGTH, VOCAB)
    width = numbers.shape[1] // CHANNELS
    for i, j, k in product(range(HEIGHT), range(WIDTH), range(CHANNELS)):
        here = numbers[:, k * width : (k + 1) * width, i, j]
        if output == "truncated_logistic":
            mean = torch.tanh(planes[:, k, i, j] + here[:, 0])
            distribution = truncated_logistic(mean, here[:, 1], LEVELS)
            here = torch.cat((distribution, here[:, 2:] - math.log(LEVELS)), 1)
        torch.testing.assert_close(logits[:, position(i, j, k)], here, rtol=1e-9, atol=1e-9)


def naive_logistic(mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Differences of the logistic function at the edges of the levels, normalized."""
    edges = torch.linspace(-1 - 1 / (levels - 1), 1 + 1 / (levels - 1), levels + 1, dtype=torch.float64)
    below = 1 / (1 + torch.exp(-(edges - mean[:, None]) / (log_scale[:, None] - 2).exp()))
    return below.diff(dim=1) / (below[:, -1:] - below[:, :1])


def test_truncated_logistic_is_differences_of_the_logistic_function(generator: torch.Generator) -> None:
    mean = 2 * torch.rand(50, generator=generator, dtype=torch.float64) - 1
    log_scale = torch.randn(50, generator=generator, dtype=torch.float64)
    distribution = truncated_logistic(mean, log_scale, 17)
    torch.testing.assert_close(distribution.exp(), naive_logistic(mean, log_scale, 17), rtol=1e-8, atol=1e-14)
    torch.testing.assert_close(distribution.logsumexp(-1), torch.zeros(50, dtype=torch.float64), rtol=0, atol=1e-12)


def test_truncated_logistic_keeps_its_digits_in_the_tails() -> None:
    """Far from the mean p(i) falls by exp(-w / scale) a level, far below what differences can tell from zero."""
    scale, levels = 1 / 500, 256
    mean, log_scale = torch.tensor([-1.0, 1.0]), torch.full((2,), 2 + math.log(scale))
    distribution = truncated_logistic(mean.requires_grad_(), log_scale.requires_grad_(), levels)
    fall = 2 / (levels - 1) / scale
    torch.testing.assert_close(distribution[0, 10:].diff(), torch.full((245,), -fall), rtol=1e-3, atol=0)
    torch.testing.assert_close(distribution[1, :-10].diff(), torch.full((245,), fall), rtol=1e-3, atol=0)
    assert float(distribution[0, -1].detach()) < -900
    gradients = torch.autograd.grad(distribution[0, -1] + distribution[1, 0], (mean, log_scale))
    # Moving the mean by scale is worth one nat, less what it adds to the range: S(w / (2 scale)) together.
    worth = 1 / (1 + math.exp(-fall / 2)) / scale
    torch.testing.assert_close(gradients[0], torch.tensor([worth, -worth]), rtol=1e-4, atol=0)
    assert bool(gradients[1].isfinite().all())


def test_special_tokens_are_no_levels(generator: torch.Generator) -> None:
    """Changing a pixel from the top level to a mask moves the logits along another direction than any level does."""
    network = build(generator)
    tokens = torch.full((VOCAB, LENGTH), 2)
    tokens[:, position(1, 2, 0)] = torch.arange(VOCAB)
    planes = pixel_planes(tokens, network.shape, VOCAB, LEVELS, torch.float64)
    seen = planes[:, 0::CHANNELS, 1, 2]  # the first channel's planes
    assert torch.equal(seen[:LEVELS, 0], torch.linspace(-1, 1, LEVELS, dtype=torch.float64))
    assert torch.equal(seen[:LEVELS, 1:], torch.zeros(LEVELS, SPECIAL, dtype=torch.float64))
    assert torch.equal(seen[LEVELS:, 0], torch.zeros(SPECIAL, dtype=torch.float64))
    assert torch.equal(seen[LEVELS:, 1:], torch.eye(SPECIAL, dtype=torch.float64))
    logits = network(tokens, torch.ones(VOCAB, dtype=torch.float64))
    # also where its value is that of a middle level
    assert not torch.allclose(logits[LEVELS], logits[2], atol=1e-3)
    assert not torch.allclose(logits[LEVELS], logits[LEVELS + 1], atol=1e-3)


def test_onehots_are_their_ids(generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor) -> None:
    for output in OUTPUTS:
        network = build(generator, output=output)
        onehots = F.one_hot(xt, VOCAB).double()
        torch.testing.assert_close(network(onehots, sigma, y), network(xt, sigma, y), rtol=0, atol=1e-10)


def test_a_new_network_is_uniform(xt: Tensor, generator: torch.Generator) -> None:
    sigma, y = torch.rand(BATCH, generator=generator), torch.zeros(BATCH, dtype=torch.int64)
    assert torch.equal(UNet(**SETTINGS)(xt, sigma, y), torch.zeros(BATCH, LENGTH, VOCAB))
    logits = UNet(**SETTINGS, output="truncated_logistic")(xt, sigma, y)
    values = torch.linspace(-1, 1, LEVELS)[xt.clamp(max=LEVELS - 1)].where(xt < LEVELS, 0)
    distribution = truncated_logistic(values.tanh(), torch.zeros(BATCH, LENGTH), LEVELS)
    torch.testing.assert_close(logits[..., :LEVELS], distribution)
    torch.testing.assert_close(logits[..., LEVELS:].exp(), torch.full((BATCH, LENGTH, SPECIAL), 1 / LEVELS))


@pytest.mark.parametrize("output", OUTPUTS)
def test_decode_of_encode_is_forward(
    generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor, output: Literal["categorical"]
) -> None:
    network = build(generator, output=output)
    hidden = network.encode(xt, sigma, y)
    assert hidden.shape == (BATCH, LENGTH, HIDDEN + (output == "truncated_logistic"))
    assert torch.equal(network.decode(hidden, sigma, y), network(xt, sigma, y))
    at = xt > 2
    assert torch.equal(network.decode(hidden, sigma, y, at), network(xt, sigma, y, at))


def test_hidden_states_are_at_their_pixels(generator: torch.Generator, xt: Tensor, sigma: Tensor) -> None:
    network = build(generator)
    network.add_module("norm_final", nn.Identity())  # its statistics are those of the whole image
    hidden = network.encode(xt, sigma)
    moved = hidden.clone()
    moved[:, position(1, 4, 1)] += 1
    changed = (network.decode(moved, sigma) - network.decode(hidden, sigma)).abs().amax(-1) > 1e-9
    near = [position(i, j, k) for i, j, k in product(range(3), range(3, 6), range(CHANNELS))]
    assert changed[0].nonzero().flatten().tolist() == near


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("density", [0.0, 0.4, 1.0])
def test_at_selects_positions(
    generator: torch.Generator, xt: Tensor, sigma: Tensor, density: float, output: Literal["categorical"]
) -> None:
    network = build(generator, output=output)
    at = torch.rand(xt.shape, generator=generator) < density
    expected = network(xt, sigma)[at]
    assert expected.shape == (int(at.sum()), VOCAB)
    torch.testing.assert_close(network(xt, sigma, at=at), expected, rtol=0, atol=1e-12)


def test_no_label_is_the_null_label(generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor) -> None:
    network = build(generator)
    null = torch.full((BATCH,), CLASSES)
    torch.testing.assert_close(network(xt, sigma), network(xt, sigma, null), rtol=0, atol=1e-12)
    assert not torch.allclose(network(xt, sigma), network(xt, sigma, y), atol=1e-3)


def test_rows_are_independent(generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor) -> None:
    network = build(generator)
    alone = torch.cat([network(xt[i : i + 1], sigma[i : i + 1], y[i : i + 1]) for i in range(BATCH)])
    torch.testing.assert_close(network(xt, sigma, y), alone, rtol=0, atol=1e-12)


def test_without_time_conditioning_sigma_is_zero(
    generator: torch.Generator, xt: Tensor, sigma: Tensor, y: Tensor
) -> None:
    network = build(generator)
    blind = copy.deepcopy(network)
    blind.time_conditioning = False
    assert torch.equal(blind(xt, sigma, y), network(xt, torch.zeros_like(sigma), y))
    assert not torch.allclose(network(xt, sigma, y), blind(xt, sigma, y), atol=1e-3)
    assert not torch.allclose(blind(xt, sigma), blind(xt, sigma, y), atol=1e-3)  # labels need no time


def test_dropout_is_on_in_training_alone(generator: torch.Generator, xt: Tensor, sigma: Tensor) -> None:
    network = build(generator, dropout=0.5)
    assert torch.equal(network(xt, sigma), network(xt, sigma))
    without = build(generator, dropout=0.0)
    without.load_state_dict(network.state_dict())
    assert torch.equal(network(xt, sigma), without.train()(xt, sigma))
    network.train()
    assert not torch.equal(network(xt, sigma), network(xt, sigma))


@pytest.mark.parametrize("output", OUTPUTS)
def test_gradients_reach_every_parameter(
    generator: torch.Generator, xt: Tensor, sigma: Tensor, output: Literal["categorical"]
) -> None:
    network = build(generator, output=output)
    weights = torch.randn(BATCH, LENGTH, VOCAB, generator=generator, dtype=torch.float64)
    (network(xt, sigma, torch.tensor([0, 1, CLASSES])) * weights).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().sum() > 0), name


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("autocast", [True, False])
def test_bfloat16_is_close_to_float32(
    generator: torch.Generator, xt: Tensor, sigma: Tensor, output: Literal["categorical"], autocast: bool
) -> None:
    network = build(generator, output=output).float()
    expected = network(xt, sigma.float()).detach()
    if not autocast:
        network.bfloat16()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = network(xt, sigma.float())
    assert float((logits.float() - expected).abs().max()) < 0.05 * float(expected.abs().max())


def test_a_vocabulary_of_levels_alone_and_one_resolution(generator: torch.Generator, sigma: Tensor) -> None:
    changes = {"levels": None, "multipliers": (1,), "attention_resolutions": (), "num_classes": None}
    for output in OUTPUTS:
        network = build(generator, output=output, **changes)
        xt = torch.randint(VOCAB, (BATCH, LENGTH), generator=generator)
        assert network(xt, sigma).shape == (BATCH, LENGTH, VOCAB)
        assert network.down.conv_in.in_channels == CHANNELS
        with pytest.raises(ValueError, match="num_classes"):
            network(xt, sigma, torch.zeros(BATCH, dtype=torch.int64))
        with pytest.raises(ValueError, match="num_classes"):
            network.decode(network.encode(xt, sigma), sigma, torch.zeros(BATCH, dtype=torch.int64))


def test_the_published_size() -> None:
    """Attention at the second of four resolutions, blocks of 128 and 256 channels."""
    with torch.device("meta"):
        network = UNet(257, 32, 32, 3, num_classes=10, levels=256)
    attended = [name for name, _ in network.named_modules() if name.endswith("attention.qkv")]
    assert [name.split(".attention")[0] for name in attended] == [
        *("down.steps.3", "down.steps.4", "down.middle1"),
        *("up.steps.8", "up.steps.9", "up.steps.10"),
    ]
    assert network.down.widths == [128] * 4 + [256] * 8
    assert network.conv_final.out_channels == 3 * 257
    assert sum(parameter.numel() for parameter in network.parameters()) == 36_706_435


def test_inputs_that_do_not_fit_are_refused(generator: torch.Generator, xt: Tensor, sigma: Tensor) -> None:
    network = build(generator)
    with pytest.raises(ValueError, match=r"height \* width \* channels = 48 tokens, got 5"):
        network(xt[:, :5], sigma)
    wrong = xt.clone()
    wrong[0, 0] = VOCAB
    with pytest.raises(IndexError):
        network(wrong, sigma)
    with pytest.raises(IndexError):
        network(xt, sigma, torch.full((BATCH,), CLASSES + 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 0}, "`height` >= 1, got 0"),
        ({"num_res_blocks": 0}, "`num_res_blocks` >= 1, got 0"),
        ({"cond_size": 0}, "`cond_size` >= 1, got 0"),
        ({"num_heads": 3}, "multiple of 4 and of `num_heads` = 3, got 8"),
        ({"hidden_channels": 6}, "multiple of 4 and of `num_heads` = 2, got 6"),
        ({"multipliers": ()}, "`multipliers` of one or more numbers >= 1, got"),
        ({"multipliers": (1, 0)}, "`multipliers` of one or more numbers >= 1, got"),
        ({"multipliers": (1, 1, 1)}, "`width` to be a multiple of 4 for 3 `multipliers`, got 6"),
        ({"attention_resolutions": (16,)}, r"`attention_resolutions` among the heights \[4, 2\] of the maps, got 16"),
        ({"levels": 1}, "2 <= `levels` <= `vocab_size` = 7, got 1"),
        ({"levels": 8}, "2 <= `levels` <= `vocab_size` = 7, got 8"),
        ({"dropout": 1.0}, "`dropout` < 1, got 1.0"),
        ({"num_classes": 0}, "`num_classes` >= 1 or None, got 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UNet(**(SETTINGS | change))
