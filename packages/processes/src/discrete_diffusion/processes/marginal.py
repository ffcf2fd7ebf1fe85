"""Diffusion with noise from the token frequencies of the data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from discrete_diffusion.processes.parameterization import LeaveOneOut, Parameterization
from discrete_diffusion.processes.process import Process
from discrete_diffusion.schedules import Schedule


@dataclass(frozen=True)
class Marginal(Process):
    """Marginal noise: pi is the distribution of tokens in the data (DiGress, arXiv 2209.14734).

    Probabilities must be positive, because a token with zero noise probability makes the prior term infinite. To ensure
    this, add one to the count of every token.

    Args:
        schedule: Noise schedule.
        probabilities: Probability of each token, normalized by the constructor.
        parameterization: Interpretation of the network's prediction.

    Raises:
        ValueError: If there are fewer than two `probabilities` or one of them is not positive.
    """

    schedule: Schedule
    probabilities: Sequence[float]
    parameterization: Parameterization = LeaveOneOut()
    vocab_size: int = field(init=False)
    losses_take_logits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if len(self.probabilities) < 2 or not min(self.probabilities) > 0:
            raise ValueError(
                "Expected `probabilities` to be two or more positive numbers (add one to the count of every token), "
                f"got {len(self.probabilities)} of which the smallest is {min(self.probabilities, default=0)}."
            )
        total = sum(self.probabilities)
        object.__setattr__(self, "probabilities", tuple(p / total for p in self.probabilities))
        object.__setattr__(self, "vocab_size", len(self.probabilities))

    def log_noise(self, like: Float[Tensor, "..."]) -> Float[Tensor, " v"]:
        """Return the logarithm of `probabilities`."""
        return torch.tensor(self.probabilities, dtype=like.dtype, device=like.device).log()

    def prior(self, shape: tuple[int, ...], *, generator: Generator | None = None) -> Int[Tensor, "..."]:
        """Draw tokens from `probabilities`, on the generator's device."""
        device = None if generator is None else generator.device
        edges = torch.tensor(self.probabilities, dtype=torch.float64, device=device).cumsum(0)[:-1]
        u = torch.rand(shape, generator=generator, dtype=torch.float64, device=device)
        return torch.bucketize(u, edges, right=True)

    def log_x0(self, logits: Float[Tensor, "*p v"], xt: Int[Tensor, "*p"]) -> Float[Tensor, "*p v"]:
        """Return the normalized logits."""
        return logits.log_softmax(-1)

    def leave_one_out(
        self, log_x0: Float[Tensor, "b l v"], xt: Int[Tensor, "b l"], t: Float[Tensor, " b"]
    ) -> Float[Tensor, "b l v"]:
        """Return log p(x_0^l | x_t without position l), as defined by the parameterization."""
        return self.parameterization.leave_one_out(log_x0, xt, self.schedule.sigma(t), self.log_noise(log_x0))
