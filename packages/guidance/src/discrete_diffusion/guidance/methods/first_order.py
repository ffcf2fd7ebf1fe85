"""Discrete classifier-based guidance to first order."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.methods.jumps import Jumps, check_likelihoods, check_sees_all
from discrete_diffusion.guidance.protocols import LogLikelihood, Model, evaluate
from discrete_diffusion.guidance.strength import Strength, check_strength, strength_at, strength_range


@dataclass(frozen=True)
class FirstOrder:
    """Classifier-based guidance with every jump read off one gradient (D-CBG's Taylor form, arXiv 2412.10193).

    log p(y | x_t with x^l = v) ~ log p(y | x_t) + g[l, v] - g[l, x_t^l],    g = d log p(y | x_t) / d one-hot(x_t)

    put in the place of the exact one in `ClassifierBased`, at either level. It costs one pass forward and one backward
    of b rows, whatever the vocabulary, and is exact for a likelihood that is linear in the one-hots. Parameters get no
    gradient; the caller may have gradients disabled.

    Args:
        base: a denoiser or a kernel.
        likelihood: (x (b, l, v) floats, t (b,)) -> log p(y | x_t), (b,), differentiable in x; v is the base's
            vocabulary, and x has the dtype of its log-probabilities.
        gamma: guidance strength, a number or a function of t; 0 is the base.
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
        """Return the guided log-probabilities; -inf throughout where x_t itself rules y out, which has no slope."""
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
    """Return log p(y | x_t), and to first order what each jump adds to it: -inf where it is -inf itself.

    Raises:
        ValueError: the likelihood returned the wrong shape, or does not depend on the one-hots by a gradient.
    """
    xt, log_probs = jumps.xt, jumps.log_probs
    with torch.inference_mode(False), torch.enable_grad():
        # Inference mode's tensors cannot be saved for a backward pass; their copies can.
        onehot = torch.nn.functional.one_hot(xt.clone(), log_probs.shape[-1]).to(log_probs.dtype).requires_grad_()
        value = check_likelihoods(likelihood(onehot, jumps.t.clone()), onehot)
        if not value.requires_grad:
            raise ValueError("Expected `likelihood` to be differentiable in one-hots (b, l, v): use ClassifierBased.")
        (gradient,) = torch.autograd.grad(value.sum(), onehot)
    value = value.detach().to(log_probs.dtype)
    rise = gradient[jumps.row, jumps.position]
    rise = rise - rise.gather(1, xt[jumps.row, jumps.position, None])
    # The gradient of log 0 is no number.
    return value, rise.masked_fill((value == -torch.inf)[jumps.row, None], -torch.inf)
