"""What a network's p(x_0 | x_t) is taken to mean, where noise leaves a token in doubt.

By Bayes' rule the two readings differ by the evidence of the position's own noisy token:

    p(x_0^l | x_t)  ∝  q(x_t^l | x_0^l) p(x_0^l | x_t without position l)
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


class Parameterization(ABC):
    """One reading of the network."""

    @abstractmethod
    def leave_one_out(
        self,
        log_x0: Float[Tensor, "b l v"],
        xt: Int[Tensor, "b l"],
        sigma: Float[Tensor, " b"],
        log_noise: Float[Tensor, " v"],
    ) -> Float[Tensor, "b l v"]:
        """log p(x_0^l | x_t without position l)."""


@dataclass(frozen=True)
class LeaveOneOut(Parameterization):
    """The network predicts from the rest of the sequence: the published reading (UDLM, arXiv 2412.10193).

    The published posterior is Bayes' rule exactly when the network means this.
    """

    def leave_one_out(
        self,
        log_x0: Float[Tensor, "b l v"],
        xt: Int[Tensor, "b l"],
        sigma: Float[Tensor, " b"],
        log_noise: Float[Tensor, " v"],
    ) -> Float[Tensor, "b l v"]:
        """`log_x0` itself."""
        return log_x0


@dataclass(frozen=True)
class Mean(Parameterization):
    """The network predicts E[x_0 | x_t], the noisy token's own evidence included: what cross-entropy training gives."""

    def leave_one_out(
        self,
        log_x0: Float[Tensor, "b l v"],
        xt: Int[Tensor, "b l"],
        sigma: Float[Tensor, " b"],
        log_noise: Float[Tensor, " v"],
    ) -> Float[Tensor, "b l v"]:
        """`log_x0` divided by q(x_t | x_0) and normalized."""
        replaced = (-torch.expm1(-sigma)).log()[:, None] + log_noise[xt]
        kept = torch.logaddexp(-sigma[:, None], replaced)
        same = F.one_hot(xt, len(log_noise)).bool()
        return (log_x0 - torch.where(same, kept[..., None], replaced[..., None])).log_softmax(-1)
