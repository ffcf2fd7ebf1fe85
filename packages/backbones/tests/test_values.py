"""Networks that are conditional on numbers."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_diffusion.backbones import DiMamba, DiT, UNet

VOCAB, VALUES, LENGTH = 5, 2, 16
NETWORKS: dict[str, Callable[..., Any]] = {
    "dit": lambda **options: DiT(VOCAB, 16, 1, 2, cond_size=8, **options),
    "dimamba": lambda **options: DiMamba(VOCAB, 16, 1, 2, 2, cond_size=8, **options),
    "unet": lambda **options: UNet(VOCAB, 4, 4, 1, 8, (1, 2), 1, (), cond_size=8, **options),
}
XT = torch.arange(2 * LENGTH).reshape(2, LENGTH) % VOCAB
SIGMA = torch.tensor([0.3, 1.2])
Y = torch.tensor([[0.5, -1.0], [0.5, math.nan]])


@pytest.fixture(params=NETWORKS)
def make(request: pytest.FixtureRequest, generator: torch.Generator) -> Callable[..., nn.Module]:
    def build(**options: Any) -> nn.Module:
        network = NETWORKS[request.param](**options).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        return network

    return build


def call(network: nn.Module, y: Tensor | None) -> Tensor:
    with torch.no_grad():
        return network(XT, SIGMA, y)


def test_missing_numbers_are_no_condition(make: Callable[..., nn.Module]):
    network = make(num_values=VALUES)
    torch.testing.assert_close(call(network, torch.full((2, VALUES), math.nan)), call(network, None))


def test_each_number_and_its_absence_change_the_logits(make: Callable[..., nn.Module]):
    network = make(num_values=VALUES)
    base = call(network, torch.tensor([[0.5, -1.0]] * 2))
    for other in ([0.6, -1.0], [0.5, -0.9], [math.nan, -1.0], [0.5, math.nan], [-1.0, 0.5]):
        assert not torch.allclose(base, call(network, torch.tensor([other] * 2)), atol=1e-4), other


def test_each_row_has_its_own_numbers_and_trains_the_features_of_missing_ones(make: Callable[..., nn.Module]):
    network = make(num_values=VALUES)
    both = call(network, Y)
    for row in range(2):
        torch.testing.assert_close(both[row], call(network, Y[[row, row]])[row])
    network(XT, SIGMA, Y).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
    null = network.cond_map.null.grad  # type: ignore[union-attr]
    assert isinstance(null, Tensor)
    assert not null[0].any()
    assert null[1].any()


def test_numbers_reach_hidden_states(make: Callable[..., nn.Module]):
    network: Any = make(num_values=VALUES)
    with torch.no_grad():
        hidden = network.encode(XT, SIGMA, Y)
        torch.testing.assert_close(network.decode(hidden, SIGMA, Y), network(XT, SIGMA, Y))


@pytest.mark.parametrize("y", [torch.zeros(2, 3), torch.zeros(2, VALUES, dtype=torch.long)])
def test_refuses_other_numbers(make: Callable[..., nn.Module], y: Tensor):
    embedding: Any = make(num_values=VALUES).cond_map
    with pytest.raises(ValueError, match="Expected `y` of 2 numbers for each sequence, got"):
        embedding(y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_values": 0}, "Expected `num_values` >= 1 or None, got 0"),
        ({"num_values": 1, "num_classes": 2}, "Expected either `num_classes` or `num_values`, got both"),
    ],
)
def test_refuses_sizes(make: Callable[..., nn.Module], options: dict[str, int], message: str):
    with pytest.raises(ValueError, match=message):
        make(**options)
