"""Best of n."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.guidance.protocols import Model
from discrete_diffusion.guidance.samplers.state import State
from discrete_diffusion.guidance.searches.search import Reward, Run, check_gamma, choose, score, spread


@dataclass(frozen=True)
class BestOf:
    """Run the sampler n times and keep one sample, the best for gamma = inf, else with P ∝ exp(gamma r(x_0)).

    The second is importance resampling: its law tends to p(x_0) exp(gamma r(x_0)) / Z as n grows. Any sampler will do,
    left-to-right too. It costs n times the sampler; the baseline that a search has to beat. With gamma = 0 or n = 1 it
    is the ordinary sampler: one run, no reward.

    Args:
        reward: clean tokens (m, l) to m numbers, -inf for impossible.
        n: how many samples to choose from.
        gamma: strength of the choice, >= 0.
    """

    reward: Reward
    n: int
    gamma: float | int = math.inf

    def __post_init__(self) -> None:
        check_gamma(self.gamma, infinite=True)
        if self.n < 1:
            raise ValueError(f"Expected `n` >= 1, got {self.n}.")

    def rows(self, b: int) -> int:
        """The n rows of each search, one where gamma = 0."""
        return b if self.gamma == 0 else b * self.n

    def __call__(
        self,
        run: Run,
        xt: Int[Tensor, "n l"],
        *,
        kernel: Model | None = None,
        denoiser: Model | None = None,
        times: Float[Tensor, " m"] | None = None,
        y: Int[Tensor, " b"] | None = None,
        clamp: Int[Tensor, "b l"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Iterator[State]:
        """Yield the states of the first run of each search, and last the sample that is kept; see `Search`.

        A state is yielded once the sampler has made the next one, since only the last is chosen from.

        Raises:
            ValueError: the rows do not match (at once); a reward is NaN, or `run` yields nothing (on iterating).
        """
        count = self.rows(1)
        y, clamp = spread(xt, count, y, clamp)
        states = run(xt, y=y, clamp=clamp, generator=generator)
        return states if count == 1 else self._chosen(states, generator)

    def _chosen(self, states: Iterator[State], generator: torch.Generator | None) -> Iterator[State]:
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
