"""The Kullback-Leibler divergence."""

import math

from jaxtyping import Float
from torch import Tensor


def kl_divergence(log_q: Float[Tensor, "*rows v"], log_p: Float[Tensor, "*rows v"]) -> Float[Tensor, "*rows"]:
    """KL(q || p) = sum_v q(v) (log q(v) - log p(v)) of each row, in nats.

    A token that q calls impossible adds nothing, whatever p says of it, and its gradient is zero. One that p alone
    calls impossible makes the divergence infinite.

    It is differentiable by a normalized q, not by p. Of the gradient, sum_v grad q(v) (1 + log q(v) - log p(v)), the 1
    is left out: its sum is zero, but what rounding leaves of it is all there is where q = p, and an optimizer that
    divides by the gradient's size would take it for a direction.
    """
    impossible = log_q == -math.inf
    ratio = log_q.masked_fill(impossible, 0) - log_p.masked_fill(impossible, 0)
    return (log_q.exp() * ratio.detach()).sum(-1)
