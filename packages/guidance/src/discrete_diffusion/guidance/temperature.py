"""Temperature."""

import math
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.normalize import normalize
from discrete_diffusion.guidance.protocols import Model, evaluate


@dataclass(frozen=True)
class Temperature:
    """Flatten or sharpen a model: log p_T = log p / T + const.

    On a denoiser it acts on what a token becomes. On a kernel it also acts on whether the token changes at all: a
    masked position that stays masked with probability 0.97 stays longer still under T < 1.

    Args:
        base: a denoiser or a kernel.
        temperature: T > 0; 1 is the identity, below 1 is sharper.
    """

    base: Model
    temperature: float | int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"Expected a finite `temperature` > 0, got {self.temperature}.")

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        /,
        *times: Float[Tensor, " b"],
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return the tempered log-probabilities."""
        log_probs = evaluate(self.base, xt, *times, y=y, at=at)
        if self.temperature == 1:
            return log_probs
        # Dividing after the peak is moved to zero: however low the temperature, the likeliest token survives.
        peak = log_probs.amax(-1, keepdim=True)
        tempered = (log_probs - peak) / self.temperature
        return normalize(tempered.masked_fill(log_probs == -math.inf, -math.inf))
