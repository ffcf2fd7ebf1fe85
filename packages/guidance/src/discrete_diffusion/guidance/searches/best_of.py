"""Best of n samples."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.guidance.protocols import Denoiser, Kernel, Reward, Rollout
from discrete_diffusion.guidance.searches.candidates import check_gamma, choose, repeat_rows, score
from discrete_diffusion.guidance.state import State
from discrete_diffusion.guidance.streams import RandomSource, repeated


@dataclass(frozen=True)
class BestOf:
    """One of n samples of any sampler: the best if gamma = inf, otherwise one drawn with P ∝ exp(gamma r(x_0)).

    A finite gamma is importance resampling: the distribution tends to p(x_0) exp(gamma r(x_0)) / Z as n grows. The
    sampler may be a left-to-right one. The cost is n times that of the sampler; other searches should do better for the
    same cost. With gamma = 0 or n = 1, this is the ordinary sampler: one run, no reward.

    Args:
        reward: Clean tokens (m, l) to m numbers, -inf for impossible.
        n: Number of samples to choose from.
        gamma: Strength of the choice, >= 0.

    Raises:
        ValueError: If a number is out of range.
    """

    reward: Reward
    n: int
    gamma: float | int = math.inf

    def __post_init__(self) -> None:
        check_gamma(self.gamma, infinite=True)
        if self.n < 1:
            raise ValueError(f"Expected `n` >= 1, got {self.n}.")

    def rows(self, b: int) -> int:
        """Return n rows for each search, or one if gamma = 0."""
        return b if self.gamma == 0 else b * self.n

    def __call__(
        self,
        rollout: Rollout,
        xt: Int[Tensor, "n l"],
        *,
        kernel: Kernel | None = None,
        denoiser: Denoiser | None = None,
        times: Float[Tensor, " m"] | None = None,
        y: Int[Tensor, " b"] | None = None,
        clamp: Int[Tensor, "b l"] | None = None,
        generator: RandomSource = None,
    ) -> Iterator[State]:
        """Yield the states of the first sample of each search, and finally the chosen samples; see `Search`.

        A state is yielded once the sampler has computed the next one, because the choice is among the last ones.

        Raises:
            ValueError: If the numbers of rows do not match (at once), or a reward is NaN or `rollout` yields nothing
                (while iterating).
        """
        count = self.rows(1)
        y, clamp = repeat_rows(xt, count, y, clamp)
        states = rollout(xt, y=y, clamp=clamp, generator=repeated(generator, count))
        return states if count == 1 else self._chosen(states, generator)

    def _chosen(self, states: Iterator[State], generator: RandomSource) -> Iterator[State]:
        state = None
        for following in states:
            if state is not None:
                yield State(state.t, state.x[:: self.n])
            state = following
        if state is None:
            raise ValueError("Expected at least one state, got none.")
        x = state.x.unflatten(0, (-1, self.n))
        with torch.no_grad():
            kept = choose(score(self.reward, state.x).unflatten(0, (-1, self.n)), self.gamma, generator)
        yield State(state.t, x[torch.arange(len(x), device=x.device), kept.to(x.device)])
