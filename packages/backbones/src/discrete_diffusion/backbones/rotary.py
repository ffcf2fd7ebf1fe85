"""Rotary position embedding (Su et al. 2021, arXiv 2104.09864), pairing the two halves of a head."""

import torch
from jaxtyping import Float
from torch import Tensor


def rotary_tables(
    length: int,
    head_size: int,
    *,
    device: torch.device,
    dtype: torch.dtype,
    base: float = 10_000.0,
    start: int = 0,
) -> tuple[Float[Tensor, "l 1 k"], Float[Tensor, "l 1 k"]]:
    """Return cos and signed sin of the angles m * base^(-2 i / k) of pair i of a head of size k, m from `start`.

    The second table is (-sin, sin), so that :func:`rotate` takes one product with the head and one with its swapped
    halves.
    """
    pairs = torch.arange(0, head_size, 2, device=device, dtype=dtype)
    positions = torch.arange(start, start + length, device=device, dtype=dtype)
    angles = torch.outer(positions, base ** (-pairs / head_size)).unsqueeze(1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(
    x: Float[Tensor, "b l h k"], cos: Float[Tensor, "l 1 k"], sin: Float[Tensor, "l 1 k"]
) -> Float[Tensor, "b l h k"]:
    """Rotate the pairs (x_i, x_{i + k/2}) of each head, so that ``<q, k>`` depends only on the distance."""
    first, second = x.chunk(2, dim=-1)
    return torch.addcmul(x * cos, torch.cat((second, first), dim=-1), sin)
