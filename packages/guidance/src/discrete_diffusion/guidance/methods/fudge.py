"""Future discriminators for generation (FUDGE)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.log_probs import normalize
from discrete_diffusion.guidance.methods.left_to_right import each_position, remaining_share
from discrete_diffusion.guidance.protocols import LogLikelihood, Model, evaluate, is_left_to_right
from discrete_diffusion.guidance.strength import Strength, check_strength, strength_at, strength_range
from discrete_diffusion.guidance.truncation import likeliest


@dataclass(frozen=True)
class FUDGE:
    """Guidance of a left-to-right model by a prefix classifier (FUDGE, Yang and Klein 2021, arXiv 2104.05218).

        log p^gamma(x_i = v | x_{<i}, y) = log p(v | x_{<i}) + gamma log p(y | x_{<i}, v) + const

    for the `top_k` likeliest v, -inf for the others. With the exact p(y | x_{<=i}), gamma = 1 and every token as a
    candidate, this is Bayes' rule, and left-to-right sampling draws exactly from p(x | y).

    The likelihood is called as `likelihood(x (n, i + 1), t (n,))` with prefixes whose last token is the candidate, and
    t = 1 - (i + 1) / l, the share of positions still to draw after it. A position costs (rows of the batch) * `top_k`
    rows of the likelihood; a position with one candidate costs none.

    `gamma` is evaluated at 1 - i / l, the share of positions still to draw before this one, whatever time the model is
    called with. Where it is 0, the result is that of `TopK`, and the likelihood is not evaluated.

    Args:
        base: Left-to-right model, guided by other methods or not.
        likelihood: log p(y | prefix).
        gamma: Guidance scale, a number or a function of t; 0 is no guidance.
        top_k: Number of candidates for each position, None for every possible token.
        max_rows: Maximum number of prefixes in a call of the likelihood.

    Raises:
        ValueError: If a number is out of range, or `base` is not a left-to-right model.
    """

    base: Model
    likelihood: LogLikelihood
    gamma: Strength
    top_k: int | None
    max_rows: int = 4096

    def __post_init__(self) -> None:
        check_strength(self.gamma)
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"Expected `top_k` >= 1 or None, got {self.top_k}.")
        if self.max_rows < 1:
            raise ValueError(f"Expected `max_rows` >= 1, got {self.max_rows}.")
        if not is_left_to_right(self.base):
            raise ValueError("Expected a left-to-right `base` for FUDGE: use `ClassifierBased` for diffusion.")

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        /,
        *,
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return the guided log-probabilities of each token given those to its left."""
        log_probs = evaluate(self.base, xt, t, y=y, at=at)
        positions = torch.ones_like(xt, dtype=torch.bool) if at is None else at
        if not bool(positions.any()):
            return log_probs
        rows = log_probs.flatten(0, -2)

        def predict(i: int, row: Tensor, order: Tensor) -> Tensor:
            before, after = (remaining_share(drawn, xt.shape[1], t, len(row)) for drawn in (i, i + 1))
            return self._position(rows[order], xt[row, :i], before, after)

        return each_position(positions, predict).view_as(log_probs)

    def _position(
        self,
        log_probs: Float[Tensor, "m v"],
        prefix: Int[Tensor, "m i"],
        before: Float[Tensor, " m"],
        after: Float[Tensor, " m"],
    ) -> Float[Tensor, "m v"]:
        guided = strength_range(self.gamma, before)[1] > 0
        everything = self.top_k is None or self.top_k >= log_probs.shape[-1]
        if everything and not guided:
            return log_probs
        candidates = log_probs > -math.inf
        if self.top_k is not None and not everything:
            candidates = candidates & likeliest(log_probs, self.top_k)
        weights = log_probs.masked_fill(~candidates, -math.inf)
        if guided:
            gamma = strength_at(self.gamma, before, weights.dtype)[:, None]
            # A candidate without a rival is drawn whatever its likelihood.
            rivals = candidates & (candidates.sum(-1, keepdim=True) > 1) & (gamma > 0)
            weights = weights + gamma * self._scores(rivals, prefix, after).to(weights.dtype)
        return normalize(weights)

    def _scores(
        self, candidates: Bool[Tensor, "m v"], prefix: Int[Tensor, "m i"], t: Float[Tensor, " m"]
    ) -> Float[Tensor, "m v"]:
        """Return log p(y | prefix, v) of each candidate v, 0 for the other tokens."""
        row, token = candidates.nonzero(as_tuple=True)
        if not len(row):
            return t.new_zeros(candidates.shape)
        chunks = [
            self.likelihood(torch.cat([prefix[rows], tokens[:, None]], 1), t[rows])
            for rows, tokens in zip(row.split(self.max_rows), token.split(self.max_rows), strict=True)
        ]
        scores = torch.cat(chunks)
        return scores.new_zeros(candidates.shape).masked_scatter(candidates, scores)
