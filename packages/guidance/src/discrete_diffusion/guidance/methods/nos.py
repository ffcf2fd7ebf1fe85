"""Diffusion optimized sampling (NOS): gradient steps on hidden states."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.log_probs import kl_divergence
from discrete_diffusion.guidance.protocols import Denoiser, Latent, LogLikelihood, evaluate, is_left_to_right
from discrete_diffusion.guidance.strength import Strength, check_strength, strength_at, strength_range


@dataclass(frozen=True)
class NOS:
    """Guidance by gradient steps on the hidden states of a denoiser (NOS, arXiv 2305.20009).

        h* = argmax_h'  gamma log p(y | h', t) - stability KL(p(x_0 | h') || p(x_0 | h)),    h = encode(x_t, t),

    approximated by `steps` steps of torch's Adagrad with learning rate `step_size` from h' = h; the result is
    decode(h*). The divergence is summed over positions; a position whose token is decided adds nothing. Every sequence
    has its own objective and its own steps, independent of the rest of the batch.

    The perturbed distribution comes first in the divergence. The code published with arXiv 2305.20009 and with
    arXiv 2412.10193 computes KL(p(. | h) || p(. | h')) instead, and has no gamma. The latter uses p(x_s | x_t), and
    averages the divergence over the batch but sums the likelihood, so its coefficient c corresponds to c / b here. The
    first step of Adagrad is `step_size` times the sign of the gradient, whatever its scale, so gamma has an effect only
    relative to `stability`, and only from the second step on.

    The likelihood is called as `likelihood(hidden (b, l, d), t)`, with hidden states as its classifier was
    trained on, and differentiated in them; parameters get no gradient. The cost is one encoding, one forward and one
    backward pass of the likelihood for each step, and at most `steps` + 1 decodings. With `steps` = 0 or gamma = 0, the
    result is that of the base.

    Args:
        base: Denoiser with hidden states, not wrapped in another method.
        likelihood: log p(y | hidden).
        gamma: Guidance scale, a number or a function of t; 0 is no guidance.
        steps: Number of gradient steps for each call.
        step_size: Change of each hidden coordinate by the first step.
        stability: Weight of the divergence; 0 for none.

    Raises:
        ValueError: If a number is out of range, or `base` is a left-to-right model or not `Latent`.
    """

    base: Denoiser
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
        if not isinstance(self.base, Latent):
            raise ValueError("Expected a `base` with `encode` and `decode`: put NOS around the denoiser itself.")

    @property
    def _latent(self) -> Latent:
        return cast(Latent, self.base)  # checked at construction

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
            moved = self._ascend(self._latent.encode(xt, t, **label), xt, t, label)
            return self._latent.decode(moved, xt, t, **label, **({} if at is None else {"at": at}))

    def _ascend(
        self, hidden: Float[Tensor, "b l d"], xt: Tensor, t: Tensor, label: dict[str, Tensor]
    ) -> Float[Tensor, "b l d"]:
        gamma = strength_at(self.gamma, t, hidden.dtype)
        unguided = self._latent.decode(hidden, xt, t, **label) if self.stability > 0 and self.steps > 1 else None
        moved = hidden.clone().requires_grad_()
        optimizer = torch.optim.Adagrad([moved], lr=float(self.step_size))
        for step in range(self.steps):
            with torch.enable_grad():
                objective = gamma * self.likelihood(moved, t)
                # At h' = h, the divergence and its gradient are zero.
                if unguided is not None and step > 0:
                    perturbed = self._latent.decode(moved, xt, t, **label)
                    objective = objective - self.stability * kl_divergence(perturbed, unguided).sum(-1)
                (gradient,) = torch.autograd.grad(objective.sum(), moved)
            moved.grad = -gradient
            optimizer.step()
        return torch.where((gamma > 0)[:, None, None], moved.detach(), hidden)
