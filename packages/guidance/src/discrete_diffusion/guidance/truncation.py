"""Temperature."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.normalize import normalize
from discrete_diffusion.guidance.protocols import Model, evaluate


@dataclass(frozen=True)
class Temperature:
    """Flatten or sharpen a model: log p_T = log p / T + const.

    On a denoiser it acts on what a token becomes. On a kernel it also acts on whether the token changes at all: a
    masked position that stays masked with probability 0.97 stays longer still under T < 1.

    Args:
        base: a denoiser or a kernel.
        temperature: T > 0; 1 is the identity, below 1 is sharper.
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
        # Dividing after the peak is moved to zero: however low the temperature, the likeliest token survives.
        peak = log_probs.amax(-1, keepdim=True)
        tempered = (log_probs - peak) / self.temperature
        return normalize(tempered.masked_fill(log_probs == -math.inf, -math.inf))


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
