"""From log-weights to log-probabilities."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def normalize(log_weights: Float[Tensor, "*rows v"]) -> Float[Tensor, "*rows v"]:
    """Scale each row to sum to one: log p = log w - log sum(w).

    A row without a possible token stays -inf throughout, where `log_softmax` would give NaN: nothing can be drawn
    from it, and `sample_categorical` says so.
    """
    impossible = log_weights == -math.inf
    return torch.log_softmax(log_weights, dim=-1).masked_fill(impossible, -math.inf)
