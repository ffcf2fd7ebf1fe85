"""Resampling of weighted particles."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def effective_sample_size(log_weights: Float[Tensor, "b k"]) -> Float[Tensor, " b"]:
    """(sum w)^2 / sum w^2: k for equal weights, 1 where one particle has it all."""
    weights = (log_weights - log_weights.amax(-1, keepdim=True)).exp()
    return weights.sum(-1) ** 2 / (weights**2).sum(-1)


def systematic(log_weights: Float[Tensor, "b k"], generator: torch.Generator | None = None) -> Int[Tensor, "b k"]:
    """Draw k ancestors in each row by one uniform number u: the particles at the quantiles (u + i) / k, i < k.

    A particle of normalized weight w gets floor(k w) or ceil(k w) places, k w on average: unbiased, and never a whole
    place off (Carpenter et al. 1999; Douc and Cappé, arXiv cs/0507025). Weight zero gets none.

    Args:
        log_weights: up to a constant in each row, at least one of them finite.
        generator: where the randomness comes from, torch's default generator if None.
    """
    k = log_weights.shape[-1]
    weights = (log_weights - log_weights.amax(-1, keepdim=True)).exp()
    cdf = weights.cumsum(-1)
    device = log_weights.device if generator is None else generator.device
    u = torch.rand(len(cdf), 1, dtype=cdf.dtype, device=device, generator=generator).to(cdf.device)
    index = torch.arange(k, device=cdf.device)
    ancestors = torch.searchsorted(cdf, (u + index) / k * cdf[:, -1:], right=True)
    # (u + k - 1) / k may round to 1, which is beyond the last particle.
    return ancestors.minimum(torch.where(weights > 0, index, 0).amax(-1, keepdim=True))
