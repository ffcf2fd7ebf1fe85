"""Future discriminators."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.methods.columns import each_column, share_left
from discrete_diffusion.guidance.normalize import normalize
from discrete_diffusion.guidance.protocols import LogLikelihood, Model, evaluate, is_left_to_right
from discrete_diffusion.guidance.strength import Strength, check_strength, strength_at, strength_range
from discrete_diffusion.guidance.truncation import likeliest


@dataclass(frozen=True)
class FUDGE:
    """Weigh each next token by what a prefix classifier makes of it (Yang and Klein 2021, arXiv 2104.05218).

        log p^gamma(x_i = v | x_{<i}, y) = log p(v | x_{<i}) + gamma log p(y | x_{<i}, v) + const

    for the `top_k` likeliest v, -inf for the others. With the exact p(y | x_{<=i}), gamma = 1 and every token a
    candidate it is Bayes' rule, and left-to-right sampling draws exactly from p(x | y).

    The likelihood is called as `likelihood(x (n, i + 1), t (n,))` on prefixes whose last token is the candidate, with
    t = 1 - (i + 1) / l, the share of positions that is then still to draw. A column costs (rows of the batch) *
    `top_k` rows of it; positions with one candidate cost none. `gamma` is read at t = 1 - i / l, where the sampler
    stands before it draws, whatever time the model is called with: a left-to-right model knows its time from the
    column. Where it is 0 the law is `TopK`'s, and no likelihood is evaluated.

    Args:
        base: a left-to-right model, guided by something else or not.
        likelihood: log p(y | prefix) of the condition that is wanted.
        gamma: guidance strength; 0 is no guidance.
        top_k: candidates for each position, None for every possible token.
        max_rows: prefixes handed to the likelihood at a time, at most.

    Raises:
        ValueError: a number out of range, or a base that is not left-to-right.
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
        """Return the guided log-probabilities, each of a token given those to its left."""
        log_probs = evaluate(self.base, xt, t, y=y, at=at)
        wanted = torch.ones_like(xt, dtype=torch.bool) if at is None else at
        if not bool(wanted.any()):
            return log_probs
        rows = log_probs.flatten(0, -2)

        def law(i: int, row: Tensor, order: Tensor) -> Tensor:
            before, after = (share_left(drawn, xt.shape[1], t, len(row)) for drawn in (i, i + 1))
            return self._column(rows[order], xt[row, :i], before, after)

        return each_column(wanted, law).view_as(log_probs)

    def _column(
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
            # One that has no rival is drawn whatever the likelihood says of it.
            rivals = candidates & (candidates.sum(-1, keepdim=True) > 1) & (gamma > 0)
            weights = weights + gamma * self._scores(rivals, prefix, after).to(weights.dtype)
        return normalize(weights)

    def _scores(
        self, candidates: Bool[Tensor, "m v"], prefix: Int[Tensor, "m i"], t: Float[Tensor, " m"]
    ) -> Float[Tensor, "m v"]:
        """log p(y | prefix, v) where v is a candidate, 0 elsewhere."""
        row, token = candidates.nonzero(as_tuple=True)
        if not len(row):
            return t.new_zeros(candidates.shape)
        chunks = [
            self.likelihood(torch.cat([prefix[rows], tokens[:, None]], 1), t[rows])
            for rows, tokens in zip(row.split(self.max_rows), token.split(self.max_rows), strict=True)
        ]
        scores = torch.cat(chunks)
        return scores.new_zeros(candidates.shape).masked_scatter(candidates, scores)
