"""Hard constraints."""

import math
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.normalize import normalize
from discrete_diffusion.guidance.protocols import Model, evaluate


# Tensors have no equality that is a single truth value.
@dataclass(frozen=True, eq=False)
class Allowed:
    """Leave each position its allowed tokens alone: log p(v) + const for v allowed, -inf for all others.

    Around a denoiser no forbidden token is ever predicted; the noise of a latent is not its concern. Around a kernel no
    forbidden token is ever drawn, latents included: an absorbing kernel must be allowed the mask. Around a
    left-to-right model the two are one. Samples obey in each case, in any number of steps.

    The law is not p(x_0 | x_0 allowed): each prediction knows its own position's constraint and not those of what is
    still noise. For that, give `Particles` a reward which is -inf where a sequence is not allowed.

    Where the base has no probability on any allowed token, as on a forbidden token that was carried over from a
    clamp, the row is -inf throughout, and `sample_categorical` says so.

    Args:
        base: a denoiser or a kernel.
        allowed: true where a token may stand, (l, v) for all sequences or (b, l, v) for each its own. The latter
            belongs outermost, since wrappers may call what they wrap with other numbers of rows. `constraints` makes
            the former.
    """

    base: Model
    allowed: Bool[Tensor, "..."]

    def __post_init__(self) -> None:
        if self.allowed.ndim not in (2, 3):
            raise ValueError(f"Expected `allowed` of shape (l, v) or (b, l, v), got {tuple(self.allowed.shape)}.")
        stuck = (~self.allowed.any(-1)).nonzero()
        if len(stuck):
            row = f" of row {int(stuck[0, 0])}" if self.allowed.ndim == 3 else ""
            raise ValueError(
                f"Expected an allowed token at every position, got none at position {int(stuck[0, -1])}{row}."
            )

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        /,
        *times: Float[Tensor, " b"],
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return the log-probabilities of the allowed tokens, -inf for the others."""
        if self.allowed.shape[:-1] not in (xt.shape, xt.shape[1:]):
            raise ValueError(
                f"Expected tokens of shape {'(b, l)' if self.allowed.ndim == 3 else '(., l)'} = "
                f"{tuple(self.allowed.shape[:-1])} as `allowed` has, got {tuple(xt.shape)}."
            )
        log_probs = evaluate(self.base, xt, *times, y=y, at=at)
        if log_probs.shape[-1] != self.allowed.shape[-1]:
            raise ValueError(
                f"Expected a vocabulary of {self.allowed.shape[-1]} as `allowed` has, got {log_probs.shape[-1]}."
            )
        allowed = self.allowed.to(xt.device).expand(*xt.shape, -1)
        return normalize(log_probs.masked_fill(~(allowed if at is None else allowed[at]), -math.inf))
