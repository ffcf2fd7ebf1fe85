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


def pool_candidates(
    prefix: Float[Tensor, "b j d"],
    candidates: Float[Tensor, "b k d"],
    pooling: Pooling,
    weights: tuple[Float[Tensor, "b j"], Float[Tensor, "b k"]] | None = None,
    past: tuple[Float[Tensor, "b ..."], ...] | None = None,
) -> tuple[Float[Tensor, "b k d"], tuple[Float[Tensor, "b ..."], ...]]:
    """Return :func:`pool` of prefix and one candidate, for each of k candidates, and the past of the longer prefix.

    Args:
        prefix: Positions that follow those of `past`.
        candidates: Candidates for the position after the prefix.
        pooling: Reduction.
        weights: Weights of the positions of `prefix` and of `candidates`.
        past: Past returned for the preceding positions; None for none.
    """
    if pooling == "last":
        return candidates, ()
    if pooling == "first":
        first = past[0] if past and past[0].shape[1] else prefix[:, :1]
        return first.expand_as(candidates) if first.shape[1] else candidates, (first,)
    if pooling == "max":
        seen = torch.cat([*(past or ()), prefix], 1)
        most = seen.amax(1, keepdim=True) if seen.shape[1] else seen
        return candidates.maximum(most) if most.shape[1] else candidates, (most,)
    wide, each = (x.to(at_least_float32(x.dtype)) for x in (prefix, candidates))
    # Sums and weights: of all positions with weight one, then with their own weights, if they have any.
    kinds = [(torch.ones_like(wide[..., :1]), torch.ones_like(each[..., :1]))]
    if weights is not None:
        kinds.append((weights[0].to(wide.dtype)[..., None], weights[1].to(wide.dtype)[..., None]))
    sums = [s for w, _ in kinds for s in ((w * wide).sum(1, keepdim=True), w.sum(1, keepdim=True))]
    if past:
        sums = [old + new for old, new in zip(past, sums, strict=True)]
    totals = [sums[2 * i] + w * each for i, (_, w) in enumerate(kinds)]
    counts = [sums[2 * i + 1] + w for i, (_, w) in enumerate(kinds)]
    mean = totals[0] / counts[0]
    if weights is not None:
        mean = (totals[1] / counts[1].where(counts[1] > 0, 1)).where(counts[1] > 0, mean)
    return mean.to(candidates.dtype), tuple(sums)
