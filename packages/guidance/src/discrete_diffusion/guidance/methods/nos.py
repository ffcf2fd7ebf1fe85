"""Diffusion optimized sampling: gradient steps on hidden states."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.methods.divergence import kl_divergence
from discrete_diffusion.guidance.protocols import LogLikelihood, evaluate, is_left_to_right
from discrete_diffusion.guidance.strength import Strength, check_strength, strength_at, strength_range


@dataclass(frozen=True)
class NOS:
    """Move the denoiser's hidden states to where a classifier of them wants them (NOS, arXiv 2305.20009).

        h* = argmax_h'  gamma log p(y | h', t) - stability KL(p(x_0 | h') || p(x_0 | h)),    h = encode(x_t, t),

    by `steps` steps of Adagrad (torch's, of size `step_size`) from h' = h; the result is decode(h*). The divergence is
    summed over positions; one whose token is decided already adds nothing. Every sequence has its own objective and
    its own steps: what else is in the batch is of no consequence.

    The perturbed law comes first in the divergence. The code published with arXiv 2305.20009 and with arXiv 2412.10193
    computes KL(p(. | h) || p(. | h')) instead, and has no gamma. The latter takes it of p(x_s | x_t), and averages it
    over the batch while it sums the likelihood: its coefficient c compares to c / b here. Adagrad's first step is
    `step_size` along the signs of the gradient, whatever its scale: gamma is felt relative to `stability` alone, from
    the second step on.

    The likelihood is called as `likelihood(hidden (b, l, d), t)`, on the hidden states that its classifier was trained
    on, and differentiated by them; parameters get no gradient. The cost is one encoding, one pass of the likelihood
    forward and one backward for each step, and at most steps + 1 decodings. With `steps` = 0 or gamma = 0 it is the
    base itself.

    Args:
        base: a denoiser with `encode(xt, t, *, y)` and `decode(hidden, xt, t, *, y, at)`, not wrapped in anything.
        likelihood: log p(y | hidden) of the condition that is wanted.
        gamma: guidance strength; 0 is no guidance.
        steps: gradient steps for each call.
        step_size: how far the first step moves each hidden coordinate.
        stability: weight of the divergence, 0 for none.

    Raises:
        ValueError: a number out of range, or a base that is left-to-right or cannot be opened.
    """

    base: Any
    likelihood: LogLikelihood
    gamma: Strength
    steps: int
    step_size: float | int
    stability: float | int

    def __post_init__(self) -> None:
        check_strength(self.gamma)
        if self.steps < 0:
            raise ValueError(f"Expected `steps` >= 0, got {self.steps}.")
        if not (math.isfinite(self.step_size) and self.step_size > 0):
            raise ValueError(f"Expected a finite `step_size` > 0, got {self.step_size}.")
        if not (math.isfinite(self.stability) and self.stability >= 0):
            raise ValueError(f"Expected a finite `stability` >= 0, got {self.stability}.")
        if is_left_to_right(self.base):
            raise ValueError("Expected a diffusion denoiser as `base` for NOS, got a left-to-right model: use `PPLM`.")
        if not all(callable(getattr(self.base, name, None)) for name in ("encode", "decode")):
            raise ValueError("Expected a `base` with `encode` and `decode`: put NOS around the denoiser itself.")

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        /,
        *,
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return log p(x_0 | h*)."""
        if self.steps == 0 or strength_range(self.gamma, t)[1] == 0:
            return evaluate(self.base, xt, t, y=y, at=at)
        label = {} if y is None else {"y": y}
        with torch.no_grad():
            moved = self._climb(self.base.encode(xt, t, **label), xt, t, label)
            return self.base.decode(moved, xt, t, **label, **({} if at is None else {"at": at}))

    def _climb(
        self, hidden: Float[Tensor, "b l d"], xt: Tensor, t: Tensor, label: dict[str, Tensor]
    ) -> Float[Tensor, "b l d"]:
        gamma = strength_at(self.gamma, t, hidden.dtype)
        unguided = self.base.decode(hidden, xt, t, **label) if self.stability > 0 and self.steps > 1 else None
        moved = hidden.clone().requires_grad_()
        optimizer = torch.optim.Adagrad([moved], lr=float(self.step_size))
        for step in range(self.steps):
            with torch.enable_grad():
                objective = gamma * self.likelihood(moved, t)
                # At h' = h the divergence is zero and so is its gradient.
                if unguided is not None and step > 0:
                    law = self.base.decode(moved, xt, t, **label)
                    objective = objective - self.stability * kl_divergence(law, unguided).sum(-1)
                (gradient,) = torch.autograd.grad(objective.sum(), moved)
            moved.grad = -gradient
            optimizer.step()
        return torch.where((gamma > 0)[:, None, None], moved.detach(), hidden)
