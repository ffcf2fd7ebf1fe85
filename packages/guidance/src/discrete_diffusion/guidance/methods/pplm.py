"""Plug and play language models (PPLM): gradient steps on the keys and values of the past."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.log_probs import kl_divergence, normalize
from discrete_diffusion.guidance.methods.left_to_right import each_position, remaining_share
from discrete_diffusion.guidance.protocols import Causal, Denoiser, LogLikelihood, Past, evaluate, is_left_to_right
from discrete_diffusion.guidance.strength import Strength, check_strength, strength_at, strength_range


@dataclass(frozen=True, eq=False)
class Prefix:
    """Tokens that a causal model has read, and what it computed from them.

    Args:
        tokens: Tokens, bos first.
        y: Labels under which they were read.
        hidden: Hidden states.
        past: Keys and values.
    """

    tokens: Int[Tensor, "b k"]
    y: Int[Tensor, " b"] | None
    hidden: Float[Tensor, "b k d"]
    past: Past

    def holds(self, tokens: Int[Tensor, "m n"], y: Int[Tensor, " m"] | None) -> bool:
        """Return whether this is the prefix of these tokens and labels."""
        return _same(self.tokens, tokens) and (
            _same(self.y, y) if self.y is not None and y is not None else self.y is y
        )


# Not frozen: it remembers a prefix between calls.
@dataclass(eq=False)
class PPLM:
    """Guidance by gradient steps on the past of a left-to-right model (PPLM, arXiv 1912.02164).

    H are the keys and values of bos, x_0, ..., x_{i-2}; with them the model reads x_{i-1} to predict x_i. From H~ = H,
    `steps` times, in every block and independently for every sequence,

        H~ <- H~ + step_size g / ||g||^gradient_scale,
        g = gradient in H~ of  gamma log p(y | h_0, ..., h_{i-1}, h~_i, h~_{i+1}) - kl KL(p~ || p),

    where p and p~ are the distributions of x_i given H and H~, h are the hidden states of the tokens so far, and h~_i
    is the last of them as read with H~. h~_{i+1} is the hidden state of the next token: since it is not drawn yet, the
    model reads its expected embedding under p~. Through h~_{i+1} the gradient favors tokens that the classifier
    prefers; without it, only the hidden state would change. The result is p~^fusion p^(1 - fusion), renormalized. The
    norm is taken over keys and values together (in the published code, over the whole batch as well).

    The likelihood is called as `likelihood(hidden (n, i + 2, d), t (n,))` with t = 1 - (i + 1) / l, the share of
    positions still to draw after x_i. `gamma` is evaluated at 1 - i / l, whatever time the model is called with.
    Parameters get no gradient. If all steps have the same length (`gradient_scale` = 1), gamma has an effect only
    relative to `kl`, and only from the second step on.

    A position costs 2 `steps` + 2 passes of one token and `steps` backward passes, because the last prefix is kept for
    the next call: sampling from left to right reads no token into the unperturbed past twice. Tokens and labels are
    compared, so the memory does not change the result, but a change of the base's weights between two positions of one
    run is not noticed. The first position has no past and is that of the base; so is every position if `steps`, gamma
    or `fusion` is 0.

    Args:
        base: Left-to-right model that can be continued, not wrapped in another method.
        likelihood: log p(y | hidden).
        gamma: Guidance scale, a number or a function of t; 0 is no guidance.
        steps: Number of gradient steps for each token.
        step_size: Length of a step in the past of one block.
        kl: Weight of the divergence; 0 for none.
        fusion: Share of the perturbed distribution in [0, 1]; 1 is that distribution itself.
        gradient_scale: Exponent of the norm: with 1 all steps have the same length, with 0 steps follow the gradient.

    Raises:
        ValueError: If a number is out of range, or `base` is not a left-to-right model or not `Causal`.
    """

    base: Denoiser
    likelihood: LogLikelihood
    gamma: Strength
    steps: int
    step_size: float | int
    kl: float | int
    fusion: float | int
    gradient_scale: float | int = 1
    _last: Prefix | None = field(default=None, init=False, repr=False)

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
        if not isinstance(self.base, Causal):
            raise ValueError(
                "Expected a `base` with `extend`, `next_token` and `bos_id`: put PPLM around the model itself."
            )

    @property
    def _causal(self) -> Causal:
        return cast(Causal, self.base)  # checked at construction

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        /,
        *,
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return the guided log-probabilities of each token given those to its left.

        Raises:
            ValueError: If the past of the base does not consist of keys and values.
        """
        positions = torch.ones_like(xt, dtype=torch.bool) if at is None else at
        length = xt.shape[1]
        index = torch.arange(length, device=xt.device)
        shares = 1 - index[positions.any(0)].to(t.dtype) / length
        if self.steps == 0 or self.fusion == 0 or strength_range(self.gamma, shares)[1] == 0 or not len(shares):
            return evaluate(self.base, xt, t, y=y, at=at)

        def predict(i: int, row: Tensor, order: Tensor) -> Tensor:
            before, after = (remaining_share(drawn, length, t, len(row)) for drawn in (i, i + 1))
            if i == 0 or strength_range(self.gamma, before)[1] == 0:
                return evaluate(self.base, xt, t, y=y, at=positions & (index == i))
            with torch.no_grad():
                gamma = strength_at(self.gamma, before)
                return self._position(xt[row, :i], None if y is None else y[row], gamma, after)

        log_probs = each_position(positions, predict)
        if bool(positions[:, -1].any()):
            self._last = None
        return log_probs.unflatten(0, xt.shape) if at is None else log_probs

    def _position(
        self,
        x: Int[Tensor, "m i"],
        y: Int[Tensor, " m"] | None,
        gamma: Float[Tensor, " m"],
        t: Float[Tensor, " m"],
    ) -> Float[Tensor, "m v"]:
        fed = torch.cat([torch.full_like(x[:, :1], self._causal.bos_id), x], 1)
        before, self._last = self._last, None
        if before is None or not before.holds(fed[:, :-1], y):
            before = self._read(fed[:, :-1], y)
        if any(state.ndim != 4 for block in before.past for state in block):
            raise ValueError("Expected keys and values as the past of `base`, got recurrent states: use FUDGE instead.")
        now = self._read(fed[:, -1:], y, before)
        self._last = now
        unguided = self._next_token(now)
        moved = before
        for step in range(self.steps):
            moved = self._ascend(moved, fed[:, -1:], gamma, t, unguided if step > 0 else None)
        guided = self._next_token(self._read(fed[:, -1:], y, moved))
        if self.fusion == 1:
            return guided
        impossible = (guided == -math.inf) | (unguided == -math.inf)
        fused = self.fusion * guided + (1 - self.fusion) * unguided
        return normalize(fused.masked_fill(impossible, -math.inf))

    def _ascend(
        self,
        before: Prefix,
        token: Int[Tensor, "m 1"],
        gamma: Float[Tensor, " m"],
        t: Float[Tensor, " m"],
        unguided: Float[Tensor, "m v"] | None,
    ) -> Prefix:
        """Take one gradient step on the past; without `unguided`, the divergence is left out."""
        leaves = [state.clone().requires_grad_() for block in before.past for state in block]
        with torch.enable_grad():
            now = self._read(token, before.y, replace(before, past=_blocks(leaves)))
            perturbed = self._next_token(now)
            ahead, _ = self._causal.extend(perturbed.exp()[:, None], now.past, **_label(now.y))
            objective = gamma.to(perturbed.dtype) * self.likelihood(torch.cat([now.hidden, ahead], 1), t)
            if self.kl > 0 and unguided is not None:
                objective = objective - self.kl * kl_divergence(perturbed, unguided)
            gradients = torch.autograd.grad(objective.sum(), leaves)
        past = []
        for (keys, values), (dk, dv) in zip(before.past, _blocks(gradients), strict=True):
            squares = dk.square().sum((1, 2, 3), keepdim=True) + dv.square().sum((1, 2, 3), keepdim=True)
            divisor = squares.sqrt() ** self.gradient_scale
            scale = self.step_size / divisor.masked_fill(divisor == 0, 1)
            past.append((keys + scale * dk, values + scale * dv))
        return replace(before, past=tuple(past))

    def _read(self, tokens: Int[Tensor, "m k"], y: Int[Tensor, " m"] | None, before: Prefix | None = None) -> Prefix:
        """Read tokens that follow a prefix, or that begin one."""
        hidden, past = self._causal.extend(tokens, None if before is None else before.past, **_label(y))
        if before is None:
            return Prefix(tokens, y, hidden, past)
        return Prefix(torch.cat([before.tokens, tokens], 1), y, torch.cat([before.hidden, hidden], 1), past)

    def _next_token(self, prefix: Prefix) -> Float[Tensor, "m v"]:
        return self._causal.next_token(prefix.hidden[:, -1:], **_label(prefix.y))[:, 0]


def _same(one: Tensor, other: Tensor) -> bool:
    return one.device == other.device and torch.equal(one, other)


def _label(y: Tensor | None) -> dict[str, Tensor]:
    return {} if y is None else {"y": y}


def _blocks(states: Sequence[Tensor]) -> Past:
    return tuple(zip(states[::2], states[1::2], strict=True))
