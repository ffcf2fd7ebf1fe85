"""Classifier-based guidance (D-CBG), exact."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.methods.jumps import Jumps, check_count, check_sees_all
from discrete_diffusion.guidance.protocols import LogLikelihood, Model, evaluate
from discrete_diffusion.guidance.strength import Strength, check_strength, strength_at, strength_range


@dataclass(frozen=True)
class ClassifierBased:
    """Classifier-based guidance by the likelihood of every single-token jump (D-CBG, arXiv 2412.10193).

        log p^gamma(x^l = v | x_t, y) = log p(x^l = v | x_t) + gamma log p(y | x_t with x^l = v, t) + const

    The likelihood is evaluated at t, the time at which the step begins, for the sequence with only that token changed.

    Around a kernel, this is the method of the paper. For absorbing noise, "stay masked" is then one of the outcomes
    that are weighed: if the schedule reveals a position with probability rho, guidance reveals it with probability

        rho A / (rho A + 1 - rho),    A = sum_v p(x_0^l = v | x_t) (p(y | x_t with x^l = v) / p(y | x_t))^gamma.

    For an exact classifier, A is 1 at gamma = 1 and grows with gamma. Example: tokens with a total probability of 1/3
    triple the likelihood and the others rule y out. At gamma = 5, A = 3^5 / 3 = 81, and one of 32 steps (rho = 3.1 %)
    reveals the position with probability 81 / (81 + 31) = 72 %. Most positions are then revealed at once, each
    regardless of the others.

    Around a denoiser, guidance is rate-preserving: "stay masked" is not an outcome, so the schedule alone decides when
    a position is revealed, and guidance decides its token. For absorbing noise and exact models, gamma = 1 gives
    p(x_0 | x_t, y) itself. For other noise, the likelihood of noisy sequences is applied to clean tokens, a heuristic.

    The cost is one pass through the likelihood for each possible jump away from x_t at positions with more than one
    outcome, plus one for x_t itself if it is an outcome of such a position. With gamma = 0 there is no cost.

    Args:
        base: Denoiser or kernel.
        likelihood: (x (b, l), t (b,)) -> log p(y | x_t), (b,).
        gamma: Guidance scale, a number or a function of t; 0 is the base.
        max_rows: Maximum number of sequences in a call of the likelihood.

    Raises:
        ValueError: If a number is out of range, or `base` is a left-to-right model.
    """

    base: Model
    likelihood: LogLikelihood
    gamma: Strength
    max_rows: int = 4096

    def __post_init__(self) -> None:
        check_strength(self.gamma)
        check_count("max_rows", self.max_rows, 1)
        check_sees_all(self.base, "ClassifierBased")

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        /,
        *times: Float[Tensor, " b"],
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return the guided log-probabilities; a position is -inf throughout if no outcome allows y."""
        log_probs = evaluate(self.base, xt, *times, y=y, at=at)
        if strength_range(self.gamma, times[0])[1] == 0:
            return log_probs
        gamma = strength_at(self.gamma, times[0], log_probs.dtype)
        jumps = Jumps.of(xt, times[0], log_probs, at, gamma)

        # Every "stay" in a row of the batch is the same sequence, so score it once.
        stays, moves = jumps.stays, jumps.moves
        first = _first_of_each_row(stays.any(-1), jumps.row)
        scored = moves | (stays & first[:, None])
        score = torch.zeros_like(jumps.log_probs).masked_scatter(
            scored, jumps.log_likelihoods(self.likelihood, scored, self.max_rows)
        )
        own = score.new_zeros(len(xt)).index_put((jumps.row[first],), score[first][stays[first]])
        return jumps.tilt(score.where(~stays, own[jumps.row, None])).view_as(log_probs)


def _first_of_each_row(true: Bool[Tensor, " n"], row: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Keep only the first true element of each value of `row`, which ascends."""
    index = true.nonzero()[:, 0]
    is_first = row[index].diff(prepend=row.new_full((1,), -1)) > 0
    return torch.zeros_like(true).index_fill(0, index[is_first], True)
