"""Classifier-based guidance (D-CBG), exact for the likeliest jumps and to first order for the others."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.methods.first_order import slopes
from discrete_diffusion.guidance.methods.jumps import Jumps, check_count, check_sees_all
from discrete_diffusion.guidance.protocols import LogLikelihood, Model, evaluate
from discrete_diffusion.guidance.strength import Strength, check_strength, strength_at, strength_range


@dataclass(frozen=True)
class Hybrid:
    """Classifier-based guidance with exact likelihoods of the likeliest jumps and first-order ones of the others.

    The `exact` most probable jumps of each sequence, over all positions and tokens, are weighed as by
    `ClassifierBased`, and all others as by `FirstOrder`. Of equally probable jumps, the earlier position comes first,
    then the lower token. `exact` = 0 is `FirstOrder`; the number of all jumps is `ClassifierBased`. The cost for each
    row is one forward and one backward pass of one-hots, and at most `exact` forward passes of tokens.

    Args:
        base: Denoiser or kernel.
        likelihood: (x, t (b,)) -> log p(y | x_t), (b,), for tokens x (b, l) and, differentiable, floats (b, l, v).
        gamma: Guidance scale, a number or a function of t; 0 is the base.
        exact: Number of jumps of each sequence that are weighed exactly.
        max_rows: Maximum number of sequences in a call of the likelihood with tokens. None is 2,048 tokens on a CPU and
            131,072 on an accelerator.

    Raises:
        ValueError: If a number is out of range, or `base` is a left-to-right model.
    """

    base: Model
    likelihood: LogLikelihood
    gamma: Strength
    exact: int
    max_rows: int | None = None

    def __post_init__(self) -> None:
        check_strength(self.gamma)
        check_count("exact", self.exact, 0)
        check_count("max_rows", self.max_rows, 1)
        check_sees_all(self.base, "Hybrid")

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        /,
        *times: Float[Tensor, " b"],
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return the guided log-probabilities."""
        log_probs = evaluate(self.base, xt, *times, y=y, at=at)
        if strength_range(self.gamma, times[0])[1] == 0:
            return log_probs
        gamma = strength_at(self.gamma, times[0], log_probs.dtype)
        jumps = Jumps.of(xt, times[0], log_probs, at, gamma)
        if not bool(jumps.undecided.any()):
            return log_probs
        own, score = slopes(self.likelihood, jumps)
        chosen = _likeliest(jumps, self.exact)
        exact = jumps.log_likelihoods(self.likelihood, chosen, self.max_rows)
        # Slopes are relative to log p(y | x_t). If that is -inf, so are they, and any constant will do.
        level = own.masked_fill(own == -torch.inf, 0)[jumps.row[chosen.nonzero()[:, 0]]]
        return jumps.tilt(score.masked_scatter(chosen, exact - level)).view_as(log_probs)


def _likeliest(jumps: Jumps, count: int) -> Bool[Tensor, "n v"]:
    """Mark the `count` most probable moves of each row of the batch."""
    (b, length), v = jumps.xt.shape, jumps.log_probs.shape[1]
    moves = jumps.moves
    if count == 0:
        return torch.zeros_like(moves)
    # All moves of a row beside each other; -inf where there is none.
    padded = jumps.log_probs.new_full((b, length, v), -torch.inf)
    padded[jumps.row, jumps.position] = jumps.log_probs.masked_fill(~moves, -torch.inf)
    weights = padded.flatten(1)
    least = weights.topk(min(count, length * v), sorted=False).values.amin(1, keepdim=True)
    above, equal = weights > least, weights == least
    # Of those as probable as the last one, only the first.
    chosen = above | (equal & (equal.cumsum(1) <= count - above.sum(1, keepdim=True)))
    return chosen.view(b, length, v)[jumps.row, jumps.position] & moves
