"""Networks of described sizes, bounded by the weights that they are built for."""

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from discrete_diffusion.checkpoints.build import build
from discrete_diffusion.checkpoints.trust import TARGETS

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of each weight, by name."""

LARGEST = 10_000_000
"""Integer that a network's description may hold whatever the size of its weights."""


def stored_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Read the shapes of a safetensors file from its header."""
    with safe_open(file, "pt") as weights:
        return {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118, no mapping


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight."""
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def build_network(description: Mapping[str, Any], weights: Shapes, *, exact: bool = True) -> nn.Module:
    """Build a network in evaluation mode, and first without memory, to compare its size with that of its weights.

    Classes that are not ours are built at once.

    Args:
        description: Target with its arguments, which the caller trusts.
        weights: Shapes of the weights on disk.
        exact: The network's weights must have these names and shapes. Otherwise their number is compared alone.

    Raises:
        ValueError: If the description asks for other weights than there are.
    """
    if description["_target_"] in TARGETS["backbone"]:
        outline = _outline(description, weights)
        problem = mismatch(shapes_of(outline.state_dict()), weights) if exact else None
        if problem is not None:
            raise ValueError(problem)
    network: nn.Module = build(description)
    return network.eval()


def mismatch(expected: Shapes, got: Shapes) -> str | None:
    """Describe the first difference between the weights of config.json and those of model.safetensors, if any."""
    for name in sorted(expected.keys() | got.keys()):
        if name not in got:
            return f"config.json asks for the weight {name}, which model.safetensors lacks"
        if name not in expected:
            return f"model.safetensors has the weight {name}, which config.json does not ask for"
        if expected[name] != got[name]:
            return f"config.json asks for {name} of shape {expected[name]}, and model.safetensors has {got[name]}"
    return None


def other_kind(expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> str | None:
    """Describe the first weight that holds integers instead of floating-point numbers, or the reverse, if any."""
    for name in sorted(expected):
        if expected[name].is_floating_point() != got[name].is_floating_point():
            return f"the network has {name} in {expected[name].dtype}, and model.safetensors in {got[name].dtype}"
    return None


def check_integers(node: Any, largest: int = LARGEST) -> None:
    """Check that no integer in a description is beyond any size.

    Raises:
        ValueError: For the first one that is.
    """
    for name, value in _numbers(node, ""):
        if abs(value) > largest:
            raise ValueError(f"Expected `{name}` <= {largest:,}, got {value!s:.40}.")


def _outline(description: Mapping[str, Any], weights: Shapes) -> nn.Module:
    """Build the network on PyTorch's meta device, which stores no numbers."""
    elements = sum(map(prod, weights.values()))
    check_integers(description, max(elements, LARGEST))
    # Some weights are stored once for two names, and some are computed.
    most, most_elements = 64 + 4 * len(weights), LARGEST + 4 * elements
    counted = [0, 0]
    too_large = ValueError(
        f"the network of its sizes has more than the {len(weights):,} weights and {elements:,} numbers of its file"
    )

    def count(_: nn.Module, __: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            counted[0] += 1
            counted[1] += parameter.numel()
        if counted[0] > most or counted[1] > most_elements:
            raise too_large

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"):
            network: nn.Module = build(description)
    finally:
        hook.remove()
    return network


def _numbers(node: Any, name: str) -> Iterator[tuple[str, int | float]]:
    if isinstance(node, Mapping):
        for key, child in node.items():
            yield from _numbers(child, str(key))
    elif isinstance(node, list | tuple):
        for child in node:
            yield from _numbers(child, name)
    elif isinstance(node, int) and not isinstance(node, bool):
        yield name, node


def expect_finite(network: nn.Module, where: object) -> None:
    """Check that all parameters of a network are finite.

    Args:
        network: The network.
        where: What the network belongs to, for the message.

    Raises:
        ValueError: If one is infinite or not a number.
    """
    for name, parameter in network.named_parameters():
        if parameter.is_floating_point() and not bool(parameter.isfinite().all()):
            raise ValueError(
                f"Expected finite weights in the {type(network).__name__} of {where}, but {name} has values that are "
                "infinite or not numbers."
            )
