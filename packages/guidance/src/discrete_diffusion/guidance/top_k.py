"""Top-k truncation."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.normalize import normalize
from discrete_diffusion.guidance.protocols import Model, evaluate


@dataclass(frozen=True)
class TopK:
    """Keep the k likeliest tokens and renormalize (arXiv 1805.04833).

    log p'(v) = log p(v) + const for the k likeliest v, -inf for the others. Of equally likely tokens the lower index
    goes first, so that k = 1 is greedy decoding.

    On a denoiser it truncates what a token may become. On a kernel "no change" is one of the k outcomes, and with many
    small steps the likeliest of them.

    Args:
        base: a denoiser or a kernel.
        k: tokens to keep, at least 1; the whole vocabulary or more is the identity.
    """

    base: Model
    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"Expected `k` >= 1, got {self.k}.")

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        /,
        *times: Float[Tensor, " b"],
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return the log-probabilities of the k likeliest tokens, -inf elsewhere."""
        log_probs = evaluate(self.base, xt, *times, y=y, at=at)
        if self.k >= log_probs.shape[-1]:
            return log_probs
        return normalize(log_probs.masked_fill(~likeliest(log_probs, self.k), -math.inf))


def likeliest(log_probs: Float[Tensor, "*rows v"], k: int) -> Bool[Tensor, "*rows v"]:
    """Mark the k likeliest tokens of each row, the lower index first where two are as likely."""
    # topk would leave it open which of equally likely tokens it takes.
    order = log_probs.sort(dim=-1, descending=True, stable=True).indices
    return torch.zeros_like(log_probs, dtype=torch.bool).scatter(-1, order[..., :k], True)
