"""Soft value-based decoding (SVDD): a choice among candidates at every step."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.guidance.drawing import sample_categorical
from discrete_diffusion.guidance.log_probs import check_log_probs
from discrete_diffusion.guidance.protocols import Denoiser, Kernel, Reward, Rollout, evaluate
from discrete_diffusion.guidance.samplers.ancestral import trajectory
from discrete_diffusion.guidance.samplers.clamping import hold
from discrete_diffusion.guidance.searches.candidates import (
    check_gamma,
    choose,
    look_ahead,
    repeat_rows,
    require_diffusion,
)
from discrete_diffusion.guidance.state import State
from discrete_diffusion.guidance.streams import RandomSource, repeated


@dataclass(frozen=True)
class SVDD:
    """One of M candidates x_s ~ p(x_s | x_t), chosen at every step by a reward (SVDD, arXiv 2408.08252).

        P(keep x_s) ∝ exp(gamma r(x0_hat)),    x0_hat ~ p(x_0 | x_s), and x0_hat = x_s at s = 0.

    The samples would have the distribution p(x_0) exp(gamma r(x_0)) / Z if M were infinite and x0_hat drawn from the
    joint p(x_0 | x_s), of which the denoiser gives only the marginals. In practice, the choice among M candidates has
    no correction by weights, and the distribution is another one, sharper in places. If you need the exact one, use
    `Particles`. An impossible x0_hat loses against any possible one; if all are impossible, they are equally likely.

    A step costs one call of the kernel with b rows and one of the denoiser with b * M rows (the last step, only the
    call of the kernel). With gamma = 0 or M = 1, this is the ordinary sampler: one candidate, no reward.

    Args:
        reward: Clean tokens (n, l) to n numbers, -inf for impossible.
        gamma: Strength of the choice, >= 0; inf keeps the best.
        candidates: Number of candidates M.

    Raises:
        ValueError: If a number is out of range.
    """

    reward: Reward
    gamma: float | int
    candidates: int

    def __post_init__(self) -> None:
        check_gamma(self.gamma, infinite=True)
        if self.candidates < 1:
            raise ValueError(f"Expected `candidates` >= 1, got {self.candidates}.")

    def rows(self, b: int) -> int:
        """Return one row for each search: candidates are drawn within each step."""
        return b

    def __call__(
        self,
        rollout: Rollout,
        xt: Int[Tensor, "b l"],
        *,
        kernel: Kernel | None = None,
        denoiser: Denoiser | None = None,
        times: Float[Tensor, " m"] | None = None,
        y: Int[Tensor, " b"] | None = None,
        clamp: Int[Tensor, "b l"] | None = None,
        generator: RandomSource = None,
    ) -> Iterator[State]:
        """Yield every state of each search; see `Search`. `rollout` is not used.

        Raises:
            ValueError: If the model is not a diffusion model or the numbers of rows do not match (at once), or a reward
                is NaN (while iterating).
        """
        kernel, denoiser, times = require_diffusion(kernel, denoiser, times)
        repeat_rows(xt, 1, y, clamp)
        # The call checks `times` and `clamp`, and samples nothing yet.
        plain = trajectory(kernel, xt, times, y=y, clamp=clamp, generator=generator)
        if self.gamma == 0 or self.candidates == 1:
            return plain
        return self._steps(kernel, denoiser, xt, times, y, clamp, generator)

    def _steps(
        self,
        kernel: Kernel,
        denoiser: Denoiser,
        xt: Int[Tensor, "b l"],
        times: Float[Tensor, " m"],
        y: Int[Tensor, " b"] | None,
        clamp: Int[Tensor, "b l"] | None,
        generator: RandomSource,
    ) -> Iterator[State]:
        x = hold(xt, clamp)
        b, m = len(x), self.candidates
        grid = times.to(x.device)
        rows = torch.arange(b, device=x.device)
        many_y, many_clamp = repeat_rows(x.repeat_interleave(m, 0), m, y, clamp)
        yield State(float(times[0]), x)
        for i in range(1, len(times)):
            with torch.no_grad():
                log_probs = evaluate(kernel, x, grid[i - 1].expand(b), grid[i].expand(b), y=y)
                check_log_probs(log_probs, x.shape, "kernel")
                # One after the other: M copies of the log-probabilities would be the largest tensor of all.
                drawn = [hold(sample_categorical(log_probs, generator), clamp) for _ in range(m)]
                candidates = torch.stack(drawn, 1)
                (rewards,) = look_ahead(
                    self.reward,
                    denoiser,
                    candidates.flatten(0, 1),
                    times[i],
                    y=many_y,
                    clamp=many_clamp,
                    generator=repeated(generator, m),
                )
                kept = choose(rewards.view(b, m), self.gamma, generator)
                x = candidates[rows, kept.to(x.device)]
            yield State(float(times[i]), x)
