"""Classifier-free guidance (D-CFG)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.log_probs import normalize
from discrete_diffusion.guidance.protocols import Model, evaluate
from discrete_diffusion.guidance.strength import Strength, check_strength, strength_at, strength_range


@dataclass(frozen=True)
class ClassifierFree:
    """Classifier-free guidance, by a conditional and an unconditional pass of one model (D-CFG, arXiv 2412.10193).

        log p^gamma(. | y) = gamma log p(. | y) + (1 - gamma) log p(. | null) + const

    The base is a kernel or a denoiser, and the result is of the same kind. The two give different distributions: around
    the denoiser, the schedule alone decides when a masked position is revealed; around the kernel, guidance changes
    that as well.

    A token that is impossible in either pass is impossible. If gamma is 0 in all rows, only the unconditional pass is
    computed, if it is 1 in all rows, only the conditional one, and otherwise both in one call of 2b rows.

    Args:
        base: Denoiser or kernel that takes labels.
        gamma: Guidance scale, a number or a function of t: 0 is unconditional, 1 conditional, more is sharper.
        null_label: Label for "no condition", `num_classes` by convention.

    Raises:
        ValueError: If `gamma` is negative or not finite, or `null_label` is negative.
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
        """Return the guided log-probabilities for the labels `y`, which are optional if gamma = 0.

        Raises:
            ValueError: If `y` is None and gamma is not 0.
        """
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
        # With `at`, the sequences have different numbers of rows: repeat each strength accordingly.
        gamma = gamma[:, None, None] if at is None else gamma.repeat_interleave(at.sum(1))[:, None]
        mixed = gamma * conditional + (1 - gamma) * unconditional
        return normalize(mixed.masked_fill(impossible, -math.inf))
