"""Discrete classifier-free guidance."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.normalize import normalize
from discrete_diffusion.guidance.protocols import Model, evaluate
from discrete_diffusion.guidance.strength import Strength, check_strength, strength_at, strength_range


@dataclass(frozen=True)
class ClassifierFree:
    """Sharpen a conditional model against itself without the condition (D-CFG, arXiv 2412.10193).

    log p^gamma(. | y) = gamma log p(. | y) + (1 - gamma) log p(. | null) + const

    The base may be a kernel or a denoiser, and the result is of the same kind. They are different laws: on the
    denoiser the schedule alone decides when a masked position is revealed, on the kernel guidance has a say in it.
    A token that either pass calls impossible is impossible. Where gamma is 0 in all rows it makes the unconditional
    pass only, where it is 1 in all of them the conditional one only, and otherwise both in one call of 2b rows.

    Args:
        base: a denoiser or a kernel that knows labels.
        gamma: guidance strength, a number or a function of t; 0 is unconditional, 1 conditional, beyond 1 sharper.
        null_label: the index that stands for "no condition", `num_classes` by convention.
    """

    base: Model
    gamma: Strength
    null_label: int

    def __post_init__(self) -> None:
        check_strength(self.gamma)
        if self.null_label < 0:
            raise ValueError(f"Expected `null_label` >= 0, got {self.null_label}.")

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        /,
        *times: Float[Tensor, " b"],
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return the guided log-probabilities for the labels `y`, which gamma = 0 does without."""
        null = torch.full((len(xt),), self.null_label, dtype=torch.int64, device=xt.device)
        least, greatest = strength_range(self.gamma, times[0])
        if greatest == 0:
            return evaluate(self.base, xt, *times, y=null, at=at)
        if y is None:
            raise ValueError(f"Expected labels for guidance with `gamma` = {self.gamma}, got None: pass `y=`.")
        if least == greatest == 1:
            return evaluate(self.base, xt, *times, y=y, at=at)

        both = evaluate(
            self.base,
            torch.cat([xt, xt]),
            *(torch.cat([time, time]) for time in times),
            y=torch.cat([y, null]),
            at=None if at is None else torch.cat([at, at]),
        )
        conditional, unconditional = both.tensor_split(2)
        impossible = (conditional == -math.inf) | (unconditional == -math.inf)
        gamma = strength_at(self.gamma, times[0], both.dtype)
        # One strength for each row of what came back, which `at` may have made ragged.
        gamma = gamma[:, None, None] if at is None else gamma.repeat_interleave(at.sum(1))[:, None]
        mixed = gamma * conditional + (1 - gamma) * unconditional
        return normalize(mixed.masked_fill(impossible, -math.inf))
