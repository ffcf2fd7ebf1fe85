"""DiT compiled, under autocast, and in narrow types."""

import importlib
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from discrete_diffusion.backbones import DiT


def build(network_class: Callable[..., Any], generator: torch.Generator) -> Any:
    network = network_class(vocab_size=9, hidden_size=16, num_blocks=2, num_heads=2, cond_size=8, num_classes=2).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network


@pytest.fixture
def network(generator: torch.Generator) -> DiT:
    return build(DiT, generator)


@pytest.fixture
def unchecked(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A network of the package as users import it: the annotation checks of the tests cannot be traced."""
    name = "discrete_diffusion.backbones"
    finders = [finder for finder in sys.meta_path if not type(finder).__module__.startswith("jaxtyping")]
    monkeypatch.setattr(sys, "meta_path", finders)
    monkeypatch.setattr("discrete_diffusion.backbones", sys.modules[name])
    for module in [module for module in sys.modules if module.startswith(name)]:
        monkeypatch.delitem(sys.modules, module)
    torch.compiler.reset()
    return build(importlib.import_module(name).DiT, generator)


def batch(generator: torch.Generator, size: int) -> tuple[Tensor, Tensor, Tensor]:
    xt = torch.randint(9, (size, 6), generator=generator)
    return xt, torch.rand(size, generator=generator), torch.randint(2, (size,), generator=generator)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiles_to_one_graph(unchecked: Any, generator: torch.Generator, backend: str) -> None:
    compiled = torch.compile(unchecked, fullgraph=True, backend=backend)
    xt, sigma, y = batch(generator, 4)
    torch.testing.assert_close(compiled(xt, sigma), unchecked(xt, sigma))
    torch.testing.assert_close(compiled(xt, sigma, y), unchecked(xt, sigma, y))
    unchecked.train()
    compiled(xt, sigma, y).square().mean().backward()
    assert all(parameter.grad is not None for parameter in unchecked.parameters())


def test_compiles_once_for_all_batch_sizes(unchecked: Any, generator: torch.Generator) -> None:
    graphs = 0

    def backend(module: torch.fx.GraphModule, _: list[Tensor]) -> Any:
        nonlocal graphs
        graphs += 1
        return module.forward

    compiled = torch.compile(unchecked, fullgraph=True, dynamic=True, backend=backend)
    for size in (3, 5, 8):
        xt, sigma, y = batch(generator, size)
        torch.testing.assert_close(compiled(xt, sigma, y), unchecked(xt, sigma, y))
    assert graphs == 1


def test_layer_norms_run_in_float32_under_autocast(
    network: DiT, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[torch.dtype] = set()
    layer_norm = F.layer_norm

    def spy(x: Tensor, *rest: Any) -> Tensor:
        out = layer_norm(x, *rest)
        seen.update((x.dtype, out.dtype))
        return out

    monkeypatch.setattr(F, "layer_norm", spy)
    xt, sigma, y = batch(generator, 4)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(xt, sigma, y)
        hidden = network.encode(xt, sigma, y)
    assert logits.dtype == torch.bfloat16
    assert hidden.dtype == torch.float32  # the residual stream stays wide
    network.bfloat16()(xt, sigma.bfloat16(), y)
    assert seen == {torch.float32}


@pytest.mark.parametrize("autocast", [True, False])
def test_bfloat16_is_close_to_float32(network: DiT, generator: torch.Generator, autocast: bool) -> None:
    xt, sigma, y = batch(generator, 4)
    expected = network(xt, sigma, y).detach()
    if not autocast:
        network.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = network(xt, sigma, y).detach()
    assert logits.dtype == torch.bfloat16
    assert float((logits.float() - expected).abs().max()) < 0.05 * float(expected.abs().max())
