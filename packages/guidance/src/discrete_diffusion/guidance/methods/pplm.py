"""Plug and play language models: gradient steps on the keys and values of the past."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.methods.columns import each_column, share_left
from discrete_diffusion.guidance.methods.divergence import kl_divergence
from discrete_diffusion.guidance.methods.prefix import Past, Prefix, read
from discrete_diffusion.guidance.normalize import normalize
from discrete_diffusion.guidance.protocols import LogLikelihood, evaluate, is_left_to_right
from discrete_diffusion.guidance.strength import Strength, check_strength, strength_at, strength_range


@dataclass(frozen=True)
class PPLM:
    """Perturb the past of a left-to-right model to where a classifier wants it (PPLM, arXiv 1912.02164).

    H are the keys and values of bos, x_0, ..., x_{i-2}, by which x_{i-1} is read to predict x_i. From H~ = H, `steps`
    times, in every block and for every sequence on its own,

        H~ <- H~ + step_size g / ||g||^gradient_scale,
        g = gradient by H~ of  gamma log p(y | h_0, ..., h_{i-1}, h~_i, h~_{i+1}) - kl KL(p~ || p),

    with p and p~ the laws of x_i by H and by H~, h the hidden states of the positions so far, the last of them as read
    with H~, and h~_{i+1} that of the token to come: since it is not drawn, of its expected embedding under p~. Through
    it the gradient asks for tokens that the classifier likes; without it the hidden state alone is moved to please. The
    result is p~^fusion p^(1 - fusion), renormalized. The norm is over keys and values together (the published code
    takes it over the whole batch as well).

    The likelihood is called as `likelihood(hidden (n, i + 2, d), t (n,))`, t = 1 - (i + 1) / l, the share of positions
    then still to draw; `gamma` is read at 1 - i / l, whatever time the model is called with. Parameters get no
    gradient. Where steps are all of one length (`gradient_scale` = 1) gamma is felt relative to `kl` alone, from the
    second step on.

    A column costs 2 `steps` + 2 passes of one token and `steps` backward passes: the unperturbed past is kept for the
    next column, so that from left to right no token is read into it twice. The first column has no past and is the
    base, as everything is with `steps`, gamma or `fusion` = 0.

    Args:
        base: a left-to-right model with `extend`, of ids and of mixtures of tokens (n, 1, v), with `next_token` and
            `bos_id`, not wrapped in anything.
        likelihood: log p(y | hidden) of the condition that is wanted.
        gamma: guidance strength; 0 is no guidance.
        steps: gradient steps for each token.
        step_size: how far a step moves the past of one block.
        kl: weight of the divergence, 0 for none.
        fusion: share of the perturbed law in [0, 1]; 1 is that law itself.
        gradient_scale: exponent of the norm; 1 makes every step as long as the next, 0 follows the gradient itself.

    Raises:
        ValueError: a number out of range, or a base that is not left-to-right or cannot be continued.
    """

    base: Any
    likelihood: LogLikelihood
    gamma: Strength
    steps: int
    step_size: float | int
    kl: float | int
    fusion: float | int
    gradient_scale: float | int = 1
    _memory: list[Prefix] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_strength(self.gamma)
        if self.steps < 0:
            raise ValueError(f"Expected `steps` >= 0, got {self.steps}.")
        if not (math.isfinite(self.step_size) and self.step_size > 0):
            raise ValueError(f"Expected a finite `step_size` > 0, got {self.step_size}.")
        if not (math.isfinite(self.kl) and self.kl >= 0):
            raise ValueError(f"Expected a finite `kl` >= 0, got {self.kl}.")
        if not 0 <= self.fusion <= 1:
            raise ValueError(f"Expected 0 <= `fusion` <= 1, got {self.fusion}.")
        if not (math.isfinite(self.gradient_scale) and self.gradient_scale >= 0):
            raise ValueError(f"Expected a finite `gradient_scale` >= 0, got {self.gradient_scale}.")
        if not is_left_to_right(self.base):
            raise ValueError("Expected a left-to-right `base` for PPLM: use `NOS` for diffusion.")
        if not all(hasattr(self.base, name) for name in ("extend", "next_token", "bos_id")):
            raise ValueError(
                "Expected a `base` with `extend`, `next_token` and `bos_id`: put PPLM around the model itself."
            )

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        /,
        *,
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return the guided log-probabilities, each of a token given those to its left."""
        wanted = torch.ones_like(xt, dtype=torch.bool) if at is None else at
        length = xt.shape[1]
        column = torch.arange(length, device=xt.device)
        shares = 1 - column[wanted.any(0)].to(t.dtype) / length
        if self.steps == 0 or self.fusion == 0 or strength_range(self.gamma, shares)[1] == 0 or not len(shares):
            return evaluate(self.base, xt, t, y=y, at=at)

        def law(i: int, row: Tensor, order: Tensor) -> Tensor:
            before, after = (share_left(drawn, length, t, len(row)) for drawn in (i, i + 1))
            if i == 0 or strength_range(self.gamma, before)[1] == 0:
                return evaluate(self.base, xt, t, y=y, at=wanted & (column == i))
            with torch.no_grad():
                gamma = strength_at(self.gamma, before)
                return self._column(xt[row, :i], None if y is None else y[row], gamma, after)

        log_probs = each_column(wanted, law)
        if bool(wanted[:, -1].any()):
            self._memory.clear()
        return log_probs.unflatten(0, xt.shape) if at is None else log_probs

    def _column(
        self,
        x: Int[Tensor, "m i"],
        y: Int[Tensor, " m"] | None,
        gamma: Float[Tensor, " m"],
        t: Float[Tensor, " m"],
    ) -> Float[Tensor, "m v"]:
        fed = torch.cat([torch.full_like(x[:, :1], self.base.bos_id), x], 1)
        before = self._memory.pop() if self._memory else None
        if before is None or not before.holds(fed[:, :-1], y):
            before = read(self.base, fed[:, :-1], y)
        if any(state.ndim != 4 for block in before.past for state in block):
            raise ValueError("Expected keys and values as the past of `base`, got recurrent states: use FUDGE instead.")
        now = read(self.base, fed[:, -1:], y, before)
        self._memory.append(now)
        unguided = self._law(now)
        moved = before
        for step in range(self.steps):
            moved = self._climb(moved, fed[:, -1:], gamma, t, unguided if step > 0 else None)
        guided = self._law(read(self.base, fed[:, -1:], y, moved))
        if self.fusion == 1:
            return guided
        impossible = (guided == -math.inf) | (unguided == -math.inf)
        fused = self.fusion * guided + (1 - self.fusion) * unguided
        return normalize(fused.masked_fill(impossible, -math.inf))

    def _climb(
        self,
        before: Prefix,
        token: Int[Tensor, "m 1"],
        gamma: Float[Tensor, " m"],
        t: Float[Tensor, " m"],
        unguided: Float[Tensor, "m v"] | None,
    ) -> Prefix:
        """Take one step; without `unguided`, of the likelihood alone."""
        leaves = [state.clone().requires_grad_() for block in before.past for state in block]
        with torch.enable_grad():
            now = read(self.base, token, before.y, replace(before, past=_blocks(leaves)))
            law = self._law(now)
            ahead, _ = self.base.extend(law.exp()[:, None], now.past, **_label(now.y))
            objective = gamma.to(law.dtype) * self.likelihood(torch.cat([now.hidden, ahead], 1), t)
            if self.kl > 0 and unguided is not None:
                objective = objective - self.kl * kl_divergence(law, unguided)
            gradients = torch.autograd.grad(objective.sum(), leaves)
        past = []
        for (keys, values), (dk, dv) in zip(before.past, _blocks(gradients), strict=True):
            squares = dk.square().sum((1, 2, 3), keepdim=True) + dv.square().sum((1, 2, 3), keepdim=True)
            divisor = squares.sqrt() ** self.gradient_scale
            scale = self.step_size / divisor.masked_fill(divisor == 0, 1)
            past.append((keys + scale * dk, values + scale * dv))
        return replace(before, past=tuple(past))

    def _law(self, now: Prefix) -> Float[Tensor, "m v"]:
        return self.base.next_token(now.hidden[:, -1:], **_label(now.y))[:, 0]


def _label(y: Tensor | None) -> dict[str, Tensor]:
    return {} if y is None else {"y": y}


def _blocks(states: Sequence[Tensor]) -> Past:
    return tuple(zip(states[::2], states[1::2], strict=True))
