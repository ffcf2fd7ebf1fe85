"""Classifier-based guidance (D-CBG), to first order."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.methods.jumps import Jumps, check_likelihoods, check_sees_all
from discrete_diffusion.guidance.protocols import LogLikelihood, Model, evaluate
from discrete_diffusion.guidance.strength import Strength, check_strength, strength_at, strength_range


@dataclass(frozen=True)
class FirstOrder:
    """Classifier-based guidance by one gradient of the likelihood (Taylor form of D-CBG, arXiv 2412.10193).

        log p(y | x_t with x^l = v) ~ log p(y | x_t) + g[l, v] - g[l, x_t^l],    g = d log p(y | x_t) / d one-hot(x_t)

    This approximation replaces the exact likelihood of `ClassifierBased`, at either level. It is exact if the
    likelihood is linear in the one-hots. It costs one forward and one backward pass of b rows, whatever the size of the
    vocabulary. Parameters get no gradient, and it works where the caller has disabled gradients.

    Args:
        base: Denoiser or kernel.
        likelihood: (x (b, l, v) floats, t (b,)) -> log p(y | x_t), (b,), differentiable in x; v is the vocabulary of
            the base, and x has the dtype of its log-probabilities.
        gamma: Guidance scale, a number or a function of t; 0 is the base.

    Raises:
        ValueError: If `gamma` is negative or not finite, or `base` is a left-to-right model.
    """

    base: Model
    likelihood: LogLikelihood
    gamma: Strength

    def __post_init__(self) -> None:
        check_strength(self.gamma)
        check_sees_all(self.base, "FirstOrder")

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        /,
        *times: Float[Tensor, " b"],
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return the guided log-probabilities; -inf throughout if y is impossible for x_t itself."""
        log_probs = evaluate(self.base, xt, *times, y=y, at=at)
        if strength_range(self.gamma, times[0])[1] == 0:
            return log_probs
        gamma = strength_at(self.gamma, times[0], log_probs.dtype)
        jumps = Jumps.of(xt, times[0], log_probs, at, gamma)
        if not bool(jumps.undecided.any()):
            return log_probs
        _, score = slopes(self.likelihood, jumps)
        return jumps.tilt(score).view_as(log_probs)


def slopes(likelihood: LogLikelihood, jumps: Jumps) -> tuple[Float[Tensor, " b"], Float[Tensor, "n v"]]:
    """Return log p(y | x_t), and the first-order change of it by each jump, -inf if log p(y | x_t) is.

    Raises:
        ValueError: If the likelihood returns the wrong shape, or is not differentiable in the one-hots.
    """
    xt, log_probs = jumps.xt, jumps.log_probs
    with torch.inference_mode(False), torch.enable_grad():
        # Tensors of inference mode cannot be saved for a backward pass, but copies of them can.
        onehot = torch.nn.functional.one_hot(xt.clone(), log_probs.shape[-1]).to(log_probs.dtype).requires_grad_()
        value = check_likelihoods(likelihood(onehot, jumps.t.clone()), onehot)
        if not value.requires_grad:
            raise ValueError("Expected `likelihood` to be differentiable in one-hots (b, l, v): use ClassifierBased.")
        (gradient,) = torch.autograd.grad(value.sum(), onehot)
    value = value.detach().to(log_probs.dtype)
    rise = gradient[jumps.row, jumps.position]
    rise = rise - rise.gather(1, xt[jumps.row, jumps.position, None])
    # The gradient of log 0 is NaN.
    return value, rise.masked_fill((value == -torch.inf)[jumps.row, None], -torch.inf)
