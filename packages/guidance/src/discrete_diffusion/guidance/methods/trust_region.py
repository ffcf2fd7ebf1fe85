"""A bound on how far guidance may take one step."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.methods.divergence import kl_divergence
from discrete_diffusion.guidance.normalize import normalize
from discrete_diffusion.guidance.protocols import Model, evaluate

_HALVINGS = 32  # lambda to 2^-32


@dataclass(frozen=True)
class TrustRegion:
    """Weaken guidance, sequence by sequence, until its step stays within a Kullback-Leibler ball.

    q_lambda = p^(1 - lambda) q^lambda / Z,    the largest lambda in [0, 1] with KL(q_lambda || p) <= max_kl

    p is the base and q the guided law. Both take positions independently, so that the divergence is the sum over the
    positions of the sequence, those of `at` where it is given. With f = log q - log p it has the derivative
    lambda Var_{q_lambda}(f) >= 0 and never falls as lambda grows: bisection finds the largest lambda.

    Tokens that the base calls impossible stay so. A token that guidance alone forbids (a nucleus, a classifier's -inf)
    is gone from q_lambda for every lambda > 0, however small, and the divergence begins at -log p(what is left)
    instead of 0. Where that exceeds the bound already, lambda is 0 and the step is the base's, forbidden tokens
    included: the bound goes first. Bans that must hold belong around this class.

    Around a kernel the bound is on the step. Around a denoiser it is on p(x_0 | x_t) at all positions asked for, few of
    which one step reveals.

    Args:
        base: a denoiser or a kernel, evaluated once where `guidance` calls it with the same arguments.
        guidance: what makes the guided model of it, as `lambda base: ClassifierBased(base, likelihood, 5.0)`.
        max_kl: nats per sequence and step; 0 is the base, infinity the guided model.
    """

    base: Model
    guidance: Callable[[Model], Model]
    max_kl: float | int

    def __post_init__(self) -> None:
        if not self.max_kl >= 0:
            raise ValueError(f"Expected `max_kl` >= 0, got {self.max_kl}.")
        # What cannot be guided so says it now, not in the middle of sampling.
        self.guidance(self.base)

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        /,
        *times: Float[Tensor, " b"],
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return the log-probabilities of the step that the bound allows."""
        base = evaluate(self.base, xt, *times, y=y, at=at)
        if self.max_kl == 0:
            return base
        remembered = _Remembered(self.base, (xt, *times, y, at), base)
        guided = evaluate(self.guidance(remembered), xt, *times, y=y, at=at)

        wanted = torch.ones_like(xt, dtype=torch.bool) if at is None else at
        row = wanted.nonzero()[:, 0]
        p, q = base.flatten(0, -2), guided.flatten(0, -2)
        beyond = (p == -torch.inf) & (q > -torch.inf)
        q = normalize(q.masked_fill(beyond, -torch.inf)).where(beyond.any(-1, keepdim=True), q)
        weight = _largest(p, q, row, len(xt), self.max_kl).to(p.dtype)[row, None]
        step = q.where(weight == 1, _between(p, q, weight))
        return step.where(weight > 0, p).view_as(base)


def _largest(
    p: Float[Tensor, "n v"], q: Float[Tensor, "n v"], row: Int[Tensor, " n"], b: int, max_kl: float | int
) -> Float[Tensor, " b"]:
    """The largest lambda of each row of the batch."""
    # Positions that guidance leaves alone add nothing.
    moved = (p != q).any(-1)
    # Apple's devices have no float64.
    accurate = torch.float32 if p.device.type == "mps" else torch.float64
    p, q, row = p[moved].to(accurate), q[moved].to(accurate), row[moved]

    def fits(weight: Tensor) -> Tensor:
        between = _between(p, q, weight[row, None])
        divergence = kl_divergence(between, p).masked_fill((between == -torch.inf).all(-1), torch.inf)
        return divergence.new_zeros(b).index_add(0, row, divergence) <= max_kl

    low, high = p.new_zeros(b), p.new_ones(b)
    whole = fits(high)
    if bool(whole.all()):
        return high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        inside = fits(middle)
        low, high = middle.where(inside, low), high.where(inside, middle)
    return low.masked_fill(whole, 1)


def _between(p: Float[Tensor, "n v"], q: Float[Tensor, "n v"], weight: Float[Tensor, "n 1"]) -> Float[Tensor, "n v"]:
    """log q_lambda for lambda > 0, whose support is what p and q share."""
    apart = (p == -torch.inf) | (q == -torch.inf)
    log_weights = torch.lerp(p.masked_fill(apart, 0), q.masked_fill(apart, 0), weight)
    return normalize(log_weights.masked_fill(apart, -torch.inf))


@dataclass(frozen=True)
class _Remembered:
    """A model that has the answer to one call ready. Whatever else the model can do, it does."""

    base: Model
    arguments: tuple[Tensor | None, ...]
    answer: Tensor

    def __call__(self, *times: Tensor, y: Tensor | None = None, at: Tensor | None = None) -> Tensor:
        arguments = (*times, y, at)
        # The very same tensors: comparing their values would cost a synchronization with the device.
        if len(arguments) == len(self.arguments) and all(map(operator.is_, arguments, self.arguments)):
            return self.answer
        return evaluate(self.base, *times, y=y, at=at)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.base, name)
