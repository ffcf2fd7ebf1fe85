"""Pooling over the positions of a sequence, or of each of its prefixes."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from discrete_diffusion.backbones.layers import at_least_float32

Pooling = Literal["mean", "max", "first", "last", "attention_mask"]
"""Reduction over the sequence; `attention_mask` is the mean over positions without padding."""

POOLINGS: tuple[Pooling, ...] = ("mean", "max", "first", "last", "attention_mask")


def pool(
    x: Float[Tensor, "b l d"], pooling: Pooling, weight: Float[Tensor, "b l"] | None = None
) -> Float[Tensor, "b d"]:
    """Pool all positions of each sequence.

    Means are sum(weight x) / sum(weight). The weight is 1 if it is None or if all weights of a row are zero.
    """
    if pooling == "max":
        return x.amax(1)
    if pooling in ("first", "last"):
        return x[:, 0 if pooling == "first" else -1]
    wide = x.to(at_least_float32(x.dtype))
    if weight is None:
        return wide.mean(1).to(x.dtype)
    weight = weight.to(wide.dtype)
    weight = weight.where(weight.sum(1, keepdim=True) > 0, 1)
    return ((weight[..., None] * wide).sum(1) / weight.sum(1, keepdim=True)).to(x.dtype)


def pool_prefixes(
    x: Float[Tensor, "b l d"], pooling: Pooling, weight: Float[Tensor, "b l"] | None = None
) -> Float[Tensor, "b l d"]:
    """Return ``pool(x[:, :i + 1], pooling, weight[:, :i + 1])`` for every position i, in one pass."""
    if pooling == "max":
        return x.cummax(1).values
    if pooling in ("first", "last"):
        return x[:, :1].expand_as(x) if pooling == "first" else x
    wide = x.to(at_least_float32(x.dtype))
    count = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=wide.dtype)[:, None]
    mean = wide.cumsum(1) / count
    if weight is None:
        return mean.to(x.dtype)
    weight = weight.to(wide.dtype)[..., None]
    total = weight.cumsum(1)
    weighted = (weight * wide).cumsum(1) / total.where(total > 0, 1)
    return weighted.where(total > 0, mean).to(x.dtype)
