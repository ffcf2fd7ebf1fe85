"""Nucleus (top-p) truncation."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.normalize import normalize
from discrete_diffusion.guidance.protocols import Model, evaluate


@dataclass(frozen=True)
class Nucleus:
    """Keep the smallest set of tokens whose probability reaches p, and renormalize (arXiv 1904.09751).

    log p'(k) = log p(k) + const for k in the nucleus, -inf outside. Of equally likely tokens the lower index goes
    first. "Reaches" is meant up to one part in a million, so that rounding does not admit one token more.

    On a denoiser it truncates what a token may become. On a kernel "no change" is one of the outcomes: with many small
    steps it soon is the whole nucleus, and nothing moves before the last step.

    Args:
        base: a denoiser or a kernel.
        p: probability to keep, in (0, 1]; 1 is the identity.
    """

    base: Model
    p: float | int

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise ValueError(f"Expected 0 < `p` <= 1, got {self.p}.")

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        /,
        *times: Float[Tensor, " b"],
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return the log-probabilities inside the nucleus, -inf outside."""
        log_probs = evaluate(self.base, xt, *times, y=y, at=at)
        if self.p == 1:
            return log_probs
        ordered, order = log_probs.sort(dim=-1, descending=True, stable=True)
        # Apple's devices have no float64.
        probs = ordered.to(torch.float32 if ordered.device.type == "mps" else torch.float64).exp()
        likelier = probs.cumsum(-1) - probs
        dropped = likelier >= self.p * (1 - 1e-6)
        outside = torch.zeros_like(dropped).scatter(-1, order, dropped)
        return normalize(log_probs.masked_fill(outside, -math.inf))
