"""Value-based choice among candidates, step by step."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.guidance.drawing import sample_categorical
from discrete_diffusion.guidance.protocols import Model, evaluate
from discrete_diffusion.guidance.samplers.ancestral import trajectory
from discrete_diffusion.guidance.samplers.clamping import hold
from discrete_diffusion.guidance.samplers.state import State
from discrete_diffusion.guidance.searches.search import (
    Reward,
    Run,
    check_gamma,
    choose,
    look_ahead,
    require_diffusion,
    spread,
)


@dataclass(frozen=True)
class SVDD:
    """At every step draw M candidates x_s ~ p(x_s | x_t) and keep one of them (SVDD, arXiv 2408.08252):

        P(keep x_s) ∝ exp(gamma r(x0_hat)),    x0_hat ~ p(x_0 | x_s), at s = 0 the candidate itself.

    It would draw from p(x_0) exp(gamma r(x_0)) / Z if M were infinite and x0_hat drawn from the joint p(x_0 | x_s), of
    which the denoiser knows each position alone. As it is, no weight corrects what a choice among M has left out, so
    that the law is another one, sharper in places: `Particles` has the right one. An impossible x0_hat loses against
    any possible one; where all are impossible each is as likely as the next.

    A step costs one call of the kernel of b rows and one of the denoiser of b * M (the last step the kernel's alone).
    With gamma = 0 or M = 1 it is the ordinary sampler: one candidate, no reward.

    Args:
        reward: clean tokens (n, l) to n numbers, -inf for impossible.
        gamma: strength of the choice, >= 0; inf keeps the best.
        candidates: M.
    """

    reward: Reward
    gamma: float | int
    candidates: int

    def __post_init__(self) -> None:
        check_gamma(self.gamma, infinite=True)
        if self.candidates < 1:
            raise ValueError(f"Expected `candidates` >= 1, got {self.candidates}.")

    def rows(self, b: int) -> int:
        """One row for each search: candidates are drawn inside each step."""
        return b

    def __call__(
        self,
        run: Run,
        xt: Int[Tensor, "b l"],
        *,
        kernel: Model | None = None,
        denoiser: Model | None = None,
        times: Float[Tensor, " m"] | None = None,
        y: Int[Tensor, " b"] | None = None,
        clamp: Int[Tensor, "b l"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Iterator[State]:
        """Yield every state of each search; see `Search`. `run` is not used.

        Raises:
            ValueError: not a diffusion model, or the rows do not match (at once); a reward is NaN (on iterating).
        """
        kernel, denoiser, times = require_diffusion(kernel, denoiser, times)
        spread(xt, 1, y, clamp)
        # Made and not yet run, it has checked `times` and `clamp`.
        plain = trajectory(kernel, xt, times, y=y, clamp=clamp, generator=generator)
        if self.gamma == 0 or self.candidates == 1:
            return plain
        return self._steps(kernel, denoiser, xt, times, y, clamp, generator)

    def _steps(
        self,
        kernel: Model,
        denoiser: Model,
        xt: Int[Tensor, "b l"],
        times: Float[Tensor, " m"],
        y: Int[Tensor, " b"] | None,
        clamp: Int[Tensor, "b l"] | None,
        generator: torch.Generator | None,
    ) -> Iterator[State]:
        x = hold(xt, clamp)
        b, m = len(x), self.candidates
        grid = times.to(x.device)
        rows = torch.arange(b, device=x.device)
        many_y, many_clamp = spread(x.repeat_interleave(m, 0), m, y, clamp)
        yield State(float(times[0]), x)
        for i in range(1, len(times)):
            with torch.no_grad():
                log_probs = evaluate(kernel, x, grid[i - 1].expand(b), grid[i].expand(b), y=y)
                if log_probs.shape[:-1] != x.shape:
                    raise ValueError(
                        f"Expected the kernel to return ({', '.join(map(str, x.shape))}, vocabulary), "
                        f"got {tuple(log_probs.shape)}."
                    )
                # One after the other: M copies of the law would be the largest tensor of all.
                drawn = [hold(sample_categorical(log_probs, generator), clamp) for _ in range(m)]
                candidates = torch.stack(drawn, 1)
                (rewards,) = look_ahead(
                    self.reward,
                    denoiser,
                    candidates.flatten(0, 1),
                    times[i],
                    y=many_y,
                    clamp=many_clamp,
                    generator=generator,
                )
                kept = choose(rewards.view(b, m), self.gamma, generator)
                x = candidates[rows, kept.to(x.device)]
            yield State(float(times[i]), x)
