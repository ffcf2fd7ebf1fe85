"""Temperature and truncation."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.log_probs import normalize
from discrete_diffusion.guidance.protocols import Model, evaluate


@dataclass(frozen=True)
class Temperature:
    """Sharper or flatter model: log p_T = log p / T + const.

    Around a denoiser, the temperature applies to the clean token. Around a kernel, it also applies to the choice
    whether a token changes at all: a masked position that stays masked with probability 0.97 stays even longer with
    T < 1.

    Args:
        base: Denoiser or kernel.
        temperature: T > 0; 1 is the identity, less than 1 is sharper.

    Raises:
        ValueError: If `temperature` is not positive and finite.
    """

    base: Model
    temperature: float | int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"Expected a finite `temperature` > 0, got {self.temperature}.")

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        /,
        *times: Float[Tensor, " b"],
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return the tempered log-probabilities."""
        log_probs = evaluate(self.base, xt, *times, y=y, at=at)
        if self.temperature == 1:
            return log_probs
        # Move the peak to zero before dividing, so that the likeliest token survives any temperature.
        peak = log_probs.amax(-1, keepdim=True)
        tempered = (log_probs - peak) / self.temperature
        return normalize(tempered.masked_fill(log_probs == -math.inf, -math.inf))


@dataclass(frozen=True)
class TopK:
    """Model restricted to its k likeliest tokens, renormalized (arXiv 1805.04833).

        log p'(v) = log p(v) + const for the k likeliest v, -inf for the others

    Of equally likely tokens, those with lower indices come first, so k = 1 is greedy decoding.

    Around a denoiser, the clean tokens are truncated. Around a kernel, "no change" is one of the k outcomes, and the
    likeliest of them in small steps.

    Args:
        base: Denoiser or kernel.
        k: Number of tokens to keep; the size of the vocabulary or more is the identity.

    Raises:
        ValueError: If `k` < 1.
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
    """Mark the k likeliest tokens of each row; of equally likely tokens, the lower index comes first."""
    # torch.topk does not specify which of equally likely tokens it takes.
    order = log_probs.sort(dim=-1, descending=True, stable=True).indices
    return torch.zeros_like(log_probs, dtype=torch.bool).scatter(-1, order[..., :k], True)


@dataclass(frozen=True)
class Nucleus:
    """Model restricted to the smallest set of tokens with probability at least p, renormalized (arXiv 1904.09751).

        log p'(v) = log p(v) + const for v in the nucleus, -inf outside

    Of equally likely tokens, those with lower indices come first. The probability is compared with a relative
    tolerance of 1e-6, so that rounding does not admit one more token.

    Around a denoiser, the clean tokens are truncated. Around a kernel, "no change" is one of the outcomes: in small
    steps it is soon the whole nucleus, and nothing changes before the last step.

    Args:
        base: Denoiser or kernel.
        p: Probability to keep, in (0, 1]; 1 is the identity.

    Raises:
        ValueError: If `p` is not in (0, 1].
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


@dataclass(frozen=True)
class MinP:
    """Model restricted to tokens with at least a share p of the likeliest token's probability (arXiv 2407.01082).

        log p'(v) = log p(v) + const for p(v) >= p max_w p(w), -inf for the others

    The likeliest token is always kept. The smaller the share, the more tokens remain where the model is unsure.

    Around a denoiser, the clean tokens are truncated. Around a kernel, "no change" is one of the outcomes, and in small
    steps the likeliest of them by far.

    Args:
        base: Denoiser or kernel.
        p: Share of the highest probability, in [0, 1]; 0 is the identity.

    Raises:
        ValueError: If `p` is not in [0, 1].
    """

    base: Model
    p: float | int

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"Expected 0 <= `p` <= 1, got {self.p}.")

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        /,
        *times: Float[Tensor, " b"],
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return the log-probabilities of the tokens that are likely enough, -inf elsewhere."""
        log_probs = evaluate(self.base, xt, *times, y=y, at=at)
        if self.p == 0:
            return log_probs
        unlikely = log_probs < log_probs.amax(-1, keepdim=True) + math.log(self.p)
        return normalize(log_probs.masked_fill(unlikely, -math.inf))
