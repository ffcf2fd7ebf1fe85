"""Logistic distribution discretized to the levels of a pixel."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from discrete_diffusion.backbones.layers import at_least_float32


def truncated_logistic(
    mean: Float[Tensor, "*p"], log_scale: Float[Tensor, "*p"], levels: int
) -> Float[Tensor, "*p levels"]:
    """Return log-probabilities of the levels under the truncated discretized logistic of D3PM (arXiv 2107.03006).

        p(i)  ∝  S((c_i + w/2 - mean) / scale) - S((c_i - w/2 - mean) / scale),    c_i = 2 i / (levels - 1) - 1,

    with the logistic function S, the distance w = 2 / (levels - 1) between levels, and scale = exp(log_scale - 2).

    With the two arguments r and l, S(r) - S(l) = S(r) S(-l) (1 - exp(l - r)), and l - r is the same for every level.
    This avoids cancellation in the tails. The computation has at least float32 precision.
    """
    wide = at_least_float32(mean.dtype)
    mean, inverse_scale = mean.to(wide)[..., None], (2 - log_scale.to(wide)).exp()[..., None]
    centers = torch.linspace(-1, 1, levels, device=mean.device, dtype=wide)
    half = 1 / (levels - 1)
    right, left = (centers + half - mean) * inverse_scale, (centers - half - mean) * inverse_scale
    return (F.logsigmoid(right) + F.logsigmoid(-left)).log_softmax(-1)
