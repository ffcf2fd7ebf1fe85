"""Autoregressive models, in the shape of a denoiser."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.processes.types import Network, given


@dataclass(frozen=True)
class NextToken:
    """log p(x^l | x^1 ... x^(l-1), y): a causal network reads the sequence shifted right behind `bos_id`.

    It has a denoiser's signature, so that whatever wraps a denoiser wraps it too. Time means nothing to it; the network
    is fed sigma = 0.
    """

    network: Network
    bos_id: int

    def __call__(
        self,
        x: Int[Tensor, "b l"],
        t: Float[Tensor, " b"] | None = None,
        *,
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*p v"]:
        """(b, l, v), or (n, v) for the n positions where `at` is true, in row-major order."""
        shifted = torch.cat([torch.full_like(x[:, :1], self.bos_id), x[:, :-1]], 1)
        return self.network(shifted, torch.zeros(len(x), device=x.device), **given(y=y, at=at)).log_softmax(-1)
