"""Classifier-based guidance (D-CBG), exact."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.likelihoods import GaussianTarget
from discrete_diffusion.guidance.methods.jumps import Jumps, check_count, check_sees_all
from discrete_diffusion.guidance.protocols import LogLikelihood, Model, evaluate
from discrete_diffusion.guidance.strength import Strength, check_strength, strength_at, strength_range

_ROUNDING = 1e-4


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

    With `epsilon` > 0, improbable jumps S of a position are not scored and get probability 0, as long as the total
    variation distance from the exact result is at most `epsilon` at this position. Since p(y | .) <= 1, it is

        sum_S p w / sum p w <= p(S) / (p(S) + sum_{not S} p w),    w(v) = p(y | x_t with x^l = v, t)^gamma.

    Jumps with a total base probability of at most `epsilon` are left out at first. Once the others are scored, the
    right side is known, and S shrinks to the least probable jumps for which it is at most `epsilon`: where y is
    improbable, S is nearly empty. One step of the sampler moves the distribution of the samples by at most `epsilon`
    times the number of positions.

    Args:
        base: Denoiser or kernel.
        likelihood: (x (b, l), t (b,)) -> log p(y | x_t), (b,).
        gamma: Guidance scale, a number or a function of t; 0 is the base.
        max_rows: Maximum number of sequences in a call of the likelihood. None is 2,048 tokens on a CPU and 131,072 on
            an accelerator.
        epsilon: Maximum total variation distance that skipping jumps may cause at each position, in [0, 1). A positive
            value needs a likelihood that is a probability, not a density.

    Raises:
        ValueError: If a number is out of range, `base` is a left-to-right model, or `epsilon` > 0 for a density.
    """

    base: Model
    likelihood: LogLikelihood
    gamma: Strength
    max_rows: int | None = None
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        check_strength(self.gamma)
        check_count("max_rows", self.max_rows, 1)
        check_sees_all(self.base, "ClassifierBased")
        if not 0 <= self.epsilon < 1:
            raise ValueError(f"Expected 0 <= `epsilon` < 1, got {self.epsilon}.")
        if self.epsilon > 0 and isinstance(self.likelihood, GaussianTarget):
            raise ValueError("Expected `epsilon` = 0 for the density GaussianTarget: the bound needs a probability.")

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
        scored = (moves & ~_least_probable(jumps, self.epsilon)) | (stays & first[:, None])
        score = torch.zeros_like(jumps.log_probs).masked_scatter(scored, self._score(jumps, scored))
        own = score.new_zeros(len(xt)).index_put((jumps.row[first],), score[first][stays[first]])
        score = score.where(~stays, own[jumps.row, None])
        if self.epsilon > 0:
            weights = (jumps.log_probs + jumps.gamma[:, None] * score).exp().where(scored | stays, 0)
            skipped = ~scored & _least_probable(jumps, self.epsilon / (1 - self.epsilon) * weights.double().sum(-1))
            late = moves & ~scored & ~skipped
            score = score.masked_scatter(late, self._score(jumps, late)).masked_fill(skipped, -torch.inf)
        return jumps.tilt(score).view_as(log_probs)

    def _score(self, jumps: Jumps, chosen: Bool[Tensor, "n v"]) -> Float[Tensor, " m"]:
        scores = jumps.log_likelihoods(self.likelihood, chosen, self.max_rows)
        if self.epsilon > 0 and bool((scores > _ROUNDING).any()):
            raise ValueError("Expected log-probabilities <= 0 from `likelihood`: for a density, set `epsilon` to 0.")
        return scores


def _least_probable(jumps: Jumps, mass: float | Float[Tensor, " n"]) -> Bool[Tensor, "n v"]:
    """Mark the least probable moves of each position whose total probability is below `mass`."""
    if not torch.is_tensor(mass) and mass == 0:
        return torch.zeros_like(jumps.moves)
    order = jumps.log_probs.masked_fill(~jumps.moves, torch.inf).sort(stable=True)
    below = order.values.double().exp().cumsum(-1) < torch.as_tensor(mass).unsqueeze(-1)
    return torch.zeros_like(jumps.moves).scatter(-1, order.indices, below)


def _first_of_each_row(true: Bool[Tensor, " n"], row: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Keep only the first true element of each value of `row`, which ascends."""
    index = true.nonzero()[:, 0]
    is_first = row[index].diff(prepend=row.new_full((1,), -1)) > 0
    return torch.zeros_like(true).index_fill(0, index[is_first], True)
