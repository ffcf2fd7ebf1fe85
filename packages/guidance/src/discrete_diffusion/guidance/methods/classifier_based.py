"""Discrete classifier-based guidance, exact."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.methods.jumps import Jumps, check_count, check_sees_all
from discrete_diffusion.guidance.protocols import LogLikelihood, Model, evaluate
from discrete_diffusion.guidance.strength import Strength, check_strength, strength_at, strength_range


@dataclass(frozen=True)
class ClassifierBased:
    """Weigh every single-token jump by what it does to a condition (D-CBG, arXiv 2412.10193).

    log p^gamma(x^l = v | x_t, y) = log p(x^l = v | x_t) + gamma log p(y | x_t with x^l = v, t) + const

    The likelihood is read at t, the time the step begins at, of the sequence as it is but for that one token.

    Around a kernel this is the paper's law. For absorbing noise "stay masked" is then one more outcome to be weighed:
    if the schedule reveals a position with probability rho, guidance does with probability

        rho A / (rho A + 1 - rho),    A = sum_v p(x_0^l = v | x_t) (p(y | x_t with x^l = v) / p(y | x_t))^gamma.

    For an exact classifier A is 1 at gamma = 1 and grows beyond. Where a third of the tokens' probability triples
    the likelihood and the rest rules y out, A = 3^5 / 3 = 81 at gamma = 5, and one step of 32, rho = 3.1 %, reveals it
    with probability 81 / (81 + 31) = 72 %: most positions at once, each ignorant of the others.

    Around a denoiser it is rate-preserving: no outcome is "stay masked", the schedule alone decides when a position is
    revealed, and guidance what it becomes. With exact models gamma = 1 makes it p(x_0 | x_t, y) itself for absorbing
    noise. For other noise the same sum is taken over clean tokens in the place of noisy ones, a heuristic.

    The cost is one pass through the likelihood for each possible jump away from x_t at positions with more than one
    outcome, and one for x_t itself where it is an outcome of such a position; none where gamma is 0.

    Args:
        base: a denoiser or a kernel.
        likelihood: (x (b, l), t (b,)) -> log p(y | x_t), (b,).
        gamma: guidance strength, a number or a function of t; 0 is the base.
        max_rows: sequences handed to the likelihood at a time.
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
        """Return the guided log-probabilities; a position none of whose outcomes allows y is -inf throughout."""
        log_probs = evaluate(self.base, xt, *times, y=y, at=at)
        if strength_range(self.gamma, times[0])[1] == 0:
            return log_probs
        gamma = strength_at(self.gamma, times[0], log_probs.dtype)
        jumps = Jumps.of(xt, times[0], log_probs, at, gamma)

        # All stays of one row of the batch are the same sequence: the first stands for them.
        stays, moves = jumps.stays, jumps.moves
        first = _first_of_each_row(stays.any(-1), jumps.row)
        asked = moves | (stays & first[:, None])
        score = torch.zeros_like(jumps.log_probs).masked_scatter(
            asked, jumps.log_likelihoods(self.likelihood, asked, self.max_rows)
        )
        own = score.new_zeros(len(xt)).index_put((jumps.row[first],), score[first][stays[first]])
        return jumps.tilt(score.where(~stays, own[jumps.row, None])).view_as(log_probs)


def _first_of_each_row(true: Bool[Tensor, " n"], row: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Keep the first true of each value of `row`, which ascends."""
    index = true.nonzero()[:, 0]
    is_first = row[index].diff(prepend=row.new_full((1,), -1)) > 0
    return torch.zeros_like(true).index_fill(0, index[is_first], True)
