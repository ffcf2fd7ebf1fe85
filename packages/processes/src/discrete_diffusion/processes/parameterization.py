"""Interpretations of a network's prediction p(x_0 | x_t) under noise that leaves tokens uncertain.

By Bayes' rule, the two interpretations differ by the evidence of the position's own noisy token (arXiv 2605.22765):

    p(x_0^l | x_t)  ∝  q(x_t^l | x_0^l) p(x_0^l | x_t without position l)
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.processes.process import add_at


class Parameterization(ABC):
    """Interpretation of the network's prediction."""

    @abstractmethod
    def leave_one_out(
        self,
        log_x0: Float[Tensor, "b l v"],
        xt: Int[Tensor, "b l"],
        sigma: Float[Tensor, " b"],
        log_noise: Float[Tensor, " v"],
    ) -> Float[Tensor, "b l v"]:
        """Return log p(x_0^l | x_t without position l), up to a constant per position where `log_x0` has one."""


@dataclass(frozen=True)
class LeaveOneOut(Parameterization):
    """Leave-one-out prediction p(x_0^l | x_t without position l), the interpretation of arXiv 2605.22765.

    The posterior and the bound of UDLM (arXiv 2412.10193) follow Bayes' rule exactly under this interpretation.
    """

    def leave_one_out(
        self,
        log_x0: Float[Tensor, "b l v"],
        xt: Int[Tensor, "b l"],
        sigma: Float[Tensor, " b"],
        log_noise: Float[Tensor, " v"],
    ) -> Float[Tensor, "b l v"]:
        """Return `log_x0` unchanged."""
        return log_x0


@dataclass(frozen=True)
class Mean(Parameterization):
    """Mean prediction E[x_0 | x_t], with the evidence of the noisy token; the result of cross-entropy training."""

    def leave_one_out(
        self,
        log_x0: Float[Tensor, "b l v"],
        xt: Int[Tensor, "b l"],
        sigma: Float[Tensor, " b"],
        log_noise: Float[Tensor, " v"],
    ) -> Float[Tensor, "b l v"]:
        """Return log [p(x_0 | x_t) / q(x_t | x_0)], normalized."""
        replaced = (-torch.expm1(-sigma)).log()[:, None] + log_noise[xt]
        kept = torch.logaddexp(-sigma[:, None], replaced)
        return add_at(log_x0, xt, -kept, -replaced).log_softmax(-1)
