"""Uniform-noise diffusion."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from discrete_diffusion.processes.parameterization import LeaveOneOut, Parameterization
from discrete_diffusion.processes.process import Process
from discrete_diffusion.schedules import Schedule


@dataclass(frozen=True)
class Uniform(Process):
    """Uniform noise: pi = 1 / V for each of the V tokens (UDLM, arXiv 2412.10193).

    Args:
        schedule: Noise schedule.
        vocab_size: Number of tokens V.
        parameterization: Interpretation of the network's prediction.

    Raises:
        ValueError: If `vocab_size` < 2.
    """

    schedule: Schedule
    vocab_size: int
    parameterization: Parameterization = LeaveOneOut()
    losses_take_logits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.vocab_size < 2:
            raise ValueError(f"Expected `vocab_size` >= 2, got {self.vocab_size}.")

    def log_noise(self, like: Float[Tensor, "..."]) -> Float[Tensor, " v"]:
        """Return -log V for every token."""
        return torch.full((self.vocab_size,), -math.log(self.vocab_size), dtype=like.dtype, device=like.device)

    def prior(self, shape: tuple[int, ...], *, generator: Generator | None = None) -> Int[Tensor, "..."]:
        """Draw uniform tokens, on the generator's device."""
        device = None if generator is None else generator.device
        return torch.randint(self.vocab_size, shape, generator=generator, device=device)

    def log_x0(self, logits: Float[Tensor, "*p v"], xt: Int[Tensor, "*p"]) -> Float[Tensor, "*p v"]:
        """Return the normalized logits."""
        return logits.log_softmax(-1)

    def leave_one_out(
        self, log_x0: Float[Tensor, "b l v"], xt: Int[Tensor, "b l"], t: Float[Tensor, " b"]
    ) -> Float[Tensor, "b l v"]:
        """Return log p(x_0^l | x_t without position l), as defined by the parameterization."""
        return self.parameterization.leave_one_out(log_x0, xt, self.schedule.sigma(t), self.log_noise(log_x0))
