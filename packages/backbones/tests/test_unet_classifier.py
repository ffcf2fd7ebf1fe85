"""Classifier of the UNet: ids, one-hots, gradients."""

from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from discrete_diffusion.backbones.unet import UNet
from discrete_diffusion.backbones.unet_classifier import UNetClassifier

HEIGHT, WIDTH, CHANNELS, LEVELS, VOCAB, OUTPUTS = 4, 6, 2, 5, 6, 3
BATCH, LENGTH = 3, HEIGHT * WIDTH * CHANNELS
POOLINGS: list[Literal["mean", "max"]] = ["mean", "max"]
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "height": HEIGHT,
    "width": WIDTH,
    "channels": CHANNELS,
    "hidden_channels": 8,
    "multipliers": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (4,),
    "num_heads": 2,
    "cond_size": 6,
    "levels": LEVELS,
}
SETTINGS = SIZES | {"num_outputs": OUTPUTS}


def build(generator: torch.Generator, **changes: Any) -> UNetClassifier:
    network = UNetClassifier(**(SETTINGS | changes)).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network


@pytest.fixture
def x(generator: torch.Generator) -> Tensor:
    return torch.randint(VOCAB, (BATCH, LENGTH), generator=generator)


@pytest.fixture
def sigma(generator: torch.Generator) -> Tensor:
    return 3 * torch.rand(BATCH, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_output_is_a_linear_function_of_the_pooled_smallest_map(
    generator: torch.Generator, x: Tensor, sigma: Tensor, pooling: Literal["mean", "max"]
) -> None:
    network = build(generator, pooling=pooling)
    generating = UNet(**SIZES).double().eval()
    shared = {name: value for name, value in network.state_dict().items() if name in generating.state_dict()}
    down = {name for name in generating.state_dict() if name.startswith(("down.", "sigma_map."))}
    assert {name for name in shared if not name.startswith("norm_final.")} == down  # the way down, all of it
    smallest: list[Tensor] = []
    generating.down.middle2.register_forward_hook(lambda _module, _inputs, output: smallest.append(output))
    generating.load_state_dict({name: value for name, value in shared.items() if name in down}, strict=False)
    generating(x, sigma)
    weights = network.state_dict()
    normed = F.silu(F.group_norm(smallest[0], 4, weights["norm_final.weight"], weights["norm_final.bias"], 1e-6))
    pixels = [normed[:, :, i, j] for i in range(HEIGHT // 2) for j in range(WIDTH // 2)]
    pooled = sum(pixels) / len(pixels) if pooling == "mean" else torch.stack(pixels).max(0).values
    expected = torch.einsum("oc,bc->bo", weights["linear.weight"], pooled) + weights["linear.bias"]
    torch.testing.assert_close(network(x, sigma), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_onehots_are_their_ids_and_carry_the_gradient(
    generator: torch.Generator, x: Tensor, sigma: Tensor, pooling: Literal["mean", "max"]
) -> None:
    network = build(generator, pooling=pooling).requires_grad_(False)
    onehots = F.one_hot(x, VOCAB).double().requires_grad_()
    outputs = network(onehots, sigma)
    torch.testing.assert_close(outputs, network(x, sigma), rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(outputs.square().sum(), onehots)
    assert bool((gradient.abs().amax(-1) > 1e-9).all())  # every pixel and channel is read
    # Away from the corners of the simplex too, the gradient is the derivative. A maximum has kinks, and is left out.
    if pooling == "mean":
        inside = (0.8 * onehots.detach() + 0.2 / VOCAB).requires_grad_()
        assert torch.autograd.gradcheck(lambda p: network(p[:2], sigma[:2]), (inside,), fast_mode=True)


def test_the_slope_between_levels_is_that_of_the_value(generator: torch.Generator, x: Tensor, sigma: Tensor) -> None:
    """First-order guidance reads differences of the gradient: equal from level to level, another for the mask."""
    network = build(generator)
    onehots = F.one_hot(x, VOCAB).double().requires_grad_()
    (gradient,) = torch.autograd.grad(network(onehots, sigma)[:, 0].sum(), onehots)
    steps = gradient[..., :LEVELS].diff(dim=-1)
    torch.testing.assert_close(steps, steps[..., :1].expand_as(steps), rtol=0, atol=1e-10)
    beyond = gradient[..., LEVELS] - gradient[..., LEVELS - 1]
    assert bool(((beyond - steps[..., 0]).abs() > 1e-9).all())


def test_time_conditioning(generator: torch.Generator, x: Tensor, sigma: Tensor) -> None:
    network = build(generator)
    assert not torch.allclose(network(x, sigma), network(x, torch.zeros_like(sigma)), atol=1e-3)
    network.time_conditioning = False
    assert torch.equal(network(x, sigma), network(x, torch.zeros_like(sigma)))


def test_rows_are_independent(generator: torch.Generator, x: Tensor, sigma: Tensor) -> None:
    network = build(generator)
    alone = torch.cat([network(x[i : i + 1], sigma[i : i + 1]) for i in range(BATCH)])
    torch.testing.assert_close(network(x, sigma), alone, rtol=0, atol=1e-12)


def test_bfloat16_is_close_to_float32(generator: torch.Generator, x: Tensor, sigma: Tensor) -> None:
    network = build(generator).float()
    expected = network(x, sigma.float()).detach()
    onehots = F.one_hot(x, VOCAB).float()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        narrow = [network(tokens, sigma.float()) for tokens in (x, onehots)]
    with torch.no_grad():
        narrow += [network.bfloat16()(tokens, sigma.float()) for tokens in (x, onehots)]
    for outputs in narrow:
        assert outputs.dtype == torch.bfloat16
        assert float((outputs.float() - expected).abs().max()) < 0.05 * float(expected.abs().max())


def test_a_new_classifier_returns_zeros_and_learns(x: Tensor) -> None:
    sigma, y = torch.ones(BATCH), torch.tensor([0, 1, 2])
    network = UNetClassifier(**SETTINGS, dropout=0.0)
    assert torch.equal(network(x, sigma), torch.zeros(BATCH, OUTPUTS))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(network(x, sigma), y).backward()
        optimizer.step()
    assert float(F.cross_entropy(network(x, sigma), y).detach()) < 0.1
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_outputs": 0}, "`num_outputs` >= 1, got 0"),
        ({"levels": 9}, "`levels` <= `vocab_size` = 6, got 9"),
        ({"attention_resolutions": (3,)}, r"among the heights \[4, 2\] of the maps, got 3"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UNetClassifier(**(SETTINGS | change))


def test_another_length_is_refused(generator: torch.Generator, x: Tensor, sigma: Tensor) -> None:
    with pytest.raises(ValueError, match=r"height \* width \* channels = 48 tokens, got 40"):
        build(generator)(x[:, :40], sigma)
