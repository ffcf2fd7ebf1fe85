"""Trust region: a bound on the change of a step by guidance."""

import operator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.log_probs import kl_divergence, normalize
from discrete_diffusion.guidance.protocols import Causal, Latent, Model, Wrapper, evaluate

_HALVINGS = 32  # lambda to 2^-32


@dataclass(frozen=True)
class TrustRegion:
    """Guidance that is weakened, for each sequence, until its step stays within a Kullback-Leibler ball.

        q_lambda = p^(1 - lambda) q^lambda / Z,    the largest lambda in [0, 1] with KL(q_lambda || p) <= max_kl

    p is the base and q the guided distribution. In both, positions are independent, so the divergence is the sum over
    the positions of the sequence, or over those of `at` if it is given. With f = log q - log p, its derivative in
    lambda is lambda Var_{q_lambda}(f) >= 0. The divergence therefore never decreases, and bisection finds the largest
    lambda.

    Tokens that are impossible under the base stay impossible. A token that only guidance forbids (by a nucleus, or a
    likelihood of -inf) is impossible under q_lambda for every lambda > 0, and the divergence for lambda near 0 is
    -log p(tokens that guidance allows) instead of 0. If that exceeds the bound, lambda is 0 and the step is that of the
    base, forbidden tokens included. Constraints that must hold belong around this class.

    Around a kernel, the bound applies to the step. Around a denoiser, it applies to p(x_0 | x_t) at all evaluated
    positions, only some of which the step reveals.

    Args:
        base: Denoiser or kernel, evaluated once if `guidance` calls it with the same arguments.
        guidance: Method to be bounded, such as `lambda base: ClassifierBased(base, likelihood, 5.0)`.
        max_kl: Bound in nats per sequence and step; 0 is the base, infinity the guided model.

    Raises:
        ValueError: If `max_kl` is negative, or `guidance` does not apply to `base`.
    """

    base: Model
    guidance: Wrapper
    max_kl: float | int

    def __post_init__(self) -> None:
        if not self.max_kl >= 0:
            raise ValueError(f"Expected `max_kl` >= 0, got {self.max_kl}.")
        # Raise now, not while sampling, if the method does not apply to the base.
        self.guidance(self.base)

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        /,
        *times: Float[Tensor, " b"],
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return log q_lambda."""
        base = evaluate(self.base, xt, *times, y=y, at=at)
        if self.max_kl == 0:
            return base
        remembered = _Remembered(self.base, (xt, *times, y, at), base)
        guided = evaluate(self.guidance(remembered), xt, *times, y=y, at=at)

        row = (torch.ones_like(xt, dtype=torch.bool) if at is None else at).nonzero()[:, 0]
        p, q = base.flatten(0, -2), guided.flatten(0, -2)
        beyond = (p == -torch.inf) & (q > -torch.inf)
        q = normalize(q.masked_fill(beyond, -torch.inf)).where(beyond.any(-1, keepdim=True), q)
        weight = _largest(p, q, row, len(xt), self.max_kl).to(p.dtype)[row, None]
        step = q.where(weight == 1, _between(p, q, weight))
        return step.where(weight > 0, p).view_as(base)


def _largest(
    p: Float[Tensor, "n v"], q: Float[Tensor, "n v"], row: Int[Tensor, " n"], b: int, max_kl: float | int
) -> Float[Tensor, " b"]:
    """Return the largest lambda of each row of the batch."""
    # Positions that guidance does not change add nothing.
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
    """Return log q_lambda for lambda > 0; its support is the intersection of those of p and q."""
    apart = (p == -torch.inf) | (q == -torch.inf)
    log_weights = torch.lerp(p.masked_fill(apart, 0), q.masked_fill(apart, 0), weight)
    return normalize(log_weights.masked_fill(apart, -torch.inf))


class _Remembered:
    """Model that returns a stored result for one call, and has the capabilities of its base."""

    def __init__(self, base: Model, arguments: tuple[Tensor | None, ...], result: Tensor) -> None:
        self.base, self.arguments, self.result = base, arguments, result
        if isinstance(base, Latent):
            self.encode, self.decode = base.encode, base.decode
        if isinstance(base, Causal):
            self.bos_id, self.extend, self.next_token = base.bos_id, base.extend, base.next_token

    def __call__(self, *times: Tensor, y: Tensor | None = None, at: Tensor | None = None) -> Tensor:
        arguments = (*times, y, at)
        # The very same tensors: comparing their values would cost a synchronization with the device.
        if len(arguments) == len(self.arguments) and all(map(operator.is_, arguments, self.arguments)):
            return self.result
        return evaluate(self.base, *times, y=y, at=at)
