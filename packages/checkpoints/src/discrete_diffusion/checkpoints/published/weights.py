"""Weights of published checkpoints."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from discrete_diffusion.checkpoints.errors import first_line

PREFIX = "backbone."
FREQUENCIES = "rotary_emb.inv_freq"
BASE = 10_000.0
SHOWN = 5
"""Number of weights of each kind that an error names."""


def read_weights(directory: Path) -> dict[str, Tensor]:
    """Read the weights of a folder, by their published names, from one or several files.

    Safetensors are preferred. From pickled files, only tensors are read, and no code is run.

    Raises:
        FileNotFoundError: If there are no weights, or a part is missing.
        ValueError: If a file is damaged, or holds more than tensors.
    """
    for single in ("model.safetensors", "pytorch_model.bin"):
        index = directory / f"{single}.index.json"
        if (directory / single).is_file():
            return _read(directory / single)
        if index.is_file():
            return _read_parts(index)
    raise FileNotFoundError(
        f"Expected weights in {directory}, but it has no model.safetensors and no pytorch_model.bin."
    )


def dit_weights(
    published: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    *,
    head_size: int,
    where: str,
    prefix: str = PREFIX,
) -> dict[str, Tensor]:
    """Return the weights of our `DiT`, in the expected dtypes, from published ones.

    Except for the prefix, the names are the same. Rotary frequencies are a buffer of the published network; they are
    compared with ours and dropped.

    Args:
        published: Weights by their published names.
        expected: State dict of our `DiT`.
        head_size: Width of an attention head.
        where: Name of the weights in messages.
        prefix: Prefix of the published names.

    Raises:
        ValueError: If a weight is missing, unknown or has another shape, or the rotary frequencies differ.
    """
    found = {name.removeprefix(prefix): weight for name, weight in published.items() if name.startswith(prefix)}
    frequencies = found.pop(FREQUENCIES, None)
    shapes = [
        f"{name} has the shape {tuple(found[name].shape)} and not {tuple(expected[name].shape)}"
        for name in expected
        if name in found and found[name].shape != expected[name].shape
    ]
    problems = {
        "without": [prefix + name for name in expected if name not in found],
        "with unknown": [prefix + name for name in found if name not in expected]
        + [name for name in published if not name.startswith(prefix)],
        "where": shapes,
    }
    faults = [f"{kind} {_some(names)}" for kind, names in problems.items() if names]
    if faults:
        raise ValueError(
            f"Expected the weights of a DiT of the sizes in its configuration, got {where} {', '.join(faults)}."
        )
    if frequencies is not None and not _are_ours(frequencies, head_size):
        raise ValueError(
            f"Expected {prefix}{FREQUENCIES} of {where} to be {BASE:g}^(-2 i / {head_size}): this network turns its "
            "heads by other angles, and our DiT would be another model."
        )
    return {name: found[name].to(tensor.dtype) for name, tensor in expected.items()}


def _are_ours(frequencies: Tensor, head_size: int) -> bool:
    ours = BASE ** (-torch.arange(0, head_size, 2, dtype=torch.float64) / head_size)
    # A buffer that was cast with the weights has lost digits: two of its last are allowed to differ.
    allowed = 2 * torch.finfo(frequencies.dtype).eps
    return frequencies.shape == ours.shape and torch.allclose(frequencies.double(), ours, rtol=allowed, atol=1e-7)


def _read_parts(index: Path) -> dict[str, Tensor]:
    try:
        parts = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"Expected {index} to say which file holds which weight: it cannot be read.") from error
    absent = [part for part in parts if Path(part).name != part or not (index.parent / part).is_file()]
    if absent:
        raise FileNotFoundError(f"{index} names files that are not beside it: {_some(absent)}.")
    return {name: weight for part in parts for name, weight in _read(index.parent / part).items()}


def _read(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        weights = torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:
        reason = first_line(error)
        raise ValueError(f"Expected weights in {file}, and nothing that runs; it cannot be read: {reason}") from error
    if not isinstance(weights, dict) or not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise ValueError(f"Expected a dictionary of tensors in {file}.")
    return dict(weights)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
