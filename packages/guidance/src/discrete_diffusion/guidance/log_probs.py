"""Operations on log-probabilities."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def normalize(log_weights: Float[Tensor, "*rows v"]) -> Float[Tensor, "*rows v"]:
    """Return log p = log w - log sum(w): each row scaled to sum to one.

    A row without a possible token stays -inf throughout, where `log_softmax` would give NaN. `sample_categorical`
    raises for such a row.
    """
    impossible = log_weights == -math.inf
    return torch.log_softmax(log_weights, dim=-1).masked_fill(impossible, -math.inf)


def kl_divergence(log_q: Float[Tensor, "*rows v"], log_p: Float[Tensor, "*rows v"]) -> Float[Tensor, "*rows"]:
    """Return KL(q || p) = sum_v q(v) (log q(v) - log p(v)) of each row, in nats.

    A token that is impossible under q adds nothing, whatever its probability under p, and its gradient is zero. A token
    that is impossible under p alone makes the divergence infinite.

    The result is differentiable in a normalized q, not in p. Its gradient is sum_v grad q(v) (1 + log q(v) - log p(v))
    without the 1: that term sums to zero, but where q = p its rounding error would be all there is, and an optimizer
    that divides by the size of the gradient would take it for a direction.
    """
    impossible = log_q == -math.inf
    ratio = log_q.masked_fill(impossible, 0) - log_p.masked_fill(impossible, 0)
    return (log_q.exp() * ratio.detach()).sum(-1)


def check_log_probs(log_probs: Float[Tensor, "*rows v"], shape: torch.Size, model: str) -> Float[Tensor, "*rows v"]:
    """Return `log_probs`, the result of a model for tokens of `shape`, if it has one distribution for each token.

    Raises:
        ValueError: If it has another shape.
    """
    if log_probs.shape[:-1] != shape:
        raise ValueError(
            f"Expected the {model} to return ({', '.join(map(str, shape))}, vocabulary), got {tuple(log_probs.shape)}."
        )
    return log_probs
