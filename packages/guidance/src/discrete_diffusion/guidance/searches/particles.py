"""Sequential Monte Carlo towards a reward."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.protocols import Model
from discrete_diffusion.guidance.samplers.ancestral import trajectory
from discrete_diffusion.guidance.samplers.clamping import hold
from discrete_diffusion.guidance.samplers.state import State, last
from discrete_diffusion.guidance.searches.resampling import effective_sample_size, systematic
from discrete_diffusion.guidance.searches.search import (
    Reward,
    Run,
    check_gamma,
    choose,
    look_ahead,
    require_diffusion,
    spread,
)


class ParticleState(State):
    """A state with what became of the weights of each search, on the CPU.

    `ess` is the effective sample size before resampling, in [1, particles]; `resampled` says where that was done.
    """

    ess: Float[Tensor, " b"]
    resampled: Bool[Tensor, " b"]

    def __new__(
        cls, t: float, x: Int[Tensor, "b l"], ess: Float[Tensor, " b"], resampled: Bool[Tensor, " b"]
    ) -> "ParticleState":
        """Make a State, (t, x), that knows the other two as well."""
        state = super().__new__(cls, t, x)
        state.ess, state.resampled = ess, resampled
        return state


@dataclass(frozen=True)
class Particles:
    """Draw from p(x_0) exp(gamma r(x_0)) / Z by twisted sequential Monte Carlo (FK steering, arXiv 2501.06848).

    Each search has K particles. A step moves them by the kernel p(x_s | x_t) and multiplies their weights by

        w(t -> s) = psi_s / psi_t
        psi_1 = 1
        psi_s = mean of exp(gamma r(x0_hat)) over `draws` of x0_hat ~ p(x_0 | x_s)
        psi_0 = exp(gamma r(x_0))

    The psi of a particle is kept with it, so that the same number is divided out which was multiplied in. Hence

        product over steps of w = psi_0 / psi_1 = exp(gamma r(x_0)),

    *whatever the estimates were*: the weighted law of whole paths, x0_hat included, is the path law of the kernel times
    exp(gamma r(x_0)), and its marginal in x_0 is the target. Twists decide the variance alone; all that is asked of
    them is that they are positive and depend on a particle's own path. The particle that is drawn in the end has the
    target law up to O(1 / K). p(x_0) is what the kernel produces in the given steps: of a guided kernel, the guided law
    is the one that is tilted.

    Potentials that do not telescope have another target. exp(gamma r(x0_hat)) at every step counts the reward once a
    step; its maximum or sum over the path does too, unless the last weight divides the others out; and a ratio whose
    denominator is estimated afresh is off by E[psi] E[1 / psi] > 1.

    Estimates without a possible draw must not give psi = 0, which would end a path whose x_0 may well be possible. They
    leave the particle its last psi that had one (1 before that) times exp(-penalty): positive, and a function of its
    own path. Impossible clean tokens do have weight zero; where that is all a search has, one of them is the sample.

    A search resamples its particles systematically where its effective sample size is below threshold * K, after which
    their weights are equal. A step costs one call of the kernel and one of the denoiser, each of b * K rows (the last
    step the kernel's alone). With gamma = 0 or one particle it is the ordinary sampler: one row, no reward.

    Args:
        reward: clean tokens (n, l) to n numbers, -inf for impossible.
        gamma: strength of the tilt, >= 0.
        particles: K, for each search.
        threshold: share of K in [0, 1]; 0 never resamples (importance sampling), 1 always.
        penalty: what an impossible estimate costs, in nats, >= 0. Efficiency depends on it, the limit law does not.
        draws: estimates for each particle and step, out of one call of the denoiser. One alone is all noise where x_s
            says little, as at high levels of uniform noise, and resampling by it then costs more than it gives.
    """

    reward: Reward
    gamma: float | int
    particles: int
    threshold: float | int = 0.5
    penalty: float | int = 1.0
    draws: int = 1

    def __post_init__(self) -> None:
        check_gamma(self.gamma)
        if self.particles < 1:
            raise ValueError(f"Expected `particles` >= 1, got {self.particles}.")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"Expected 0 <= `threshold` <= 1, got {self.threshold}.")
        if not 0 <= self.penalty < math.inf:
            raise ValueError(f"Expected a finite `penalty` >= 0, got {self.penalty}.")
        if self.draws < 1:
            raise ValueError(f"Expected `draws` >= 1, got {self.draws}.")

    def rows(self, b: int) -> int:
        """K rows for each search, one where gamma = 0."""
        return b if self.gamma == 0 else b * self.particles

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
    ) -> Iterator[ParticleState]:
        """Yield the first particle of each search, at the end the one that was drawn; see `Search`. `run` is not used.

        Raises:
            ValueError: not a diffusion model, or the rows do not match (at once); a reward is NaN (on iterating).
        """
        kernel, denoiser, times = require_diffusion(kernel, denoiser, times)
        y, clamp = spread(xt, self.rows(1), y, clamp)
        # Made and not yet run, it has checked `times` and `clamp`.
        plain = trajectory(kernel, xt, times, y=y, clamp=clamp, generator=generator)
        if self.rows(1) == 1:
            alone, never = torch.ones(len(xt), dtype=torch.float64), torch.zeros(len(xt), dtype=torch.bool)
            return (ParticleState(state.t, state.x, alone, never) for state in plain)
        return self._steps(kernel, denoiser, xt, times, y, clamp, generator)

    def _steps(
        self,
        kernel: Model,
        denoiser: Model,
        xt: Int[Tensor, "n l"],
        times: Float[Tensor, " m"],
        y: Int[Tensor, " n"] | None,
        clamp: Int[Tensor, "n l"] | None,
        generator: torch.Generator | None,
    ) -> Iterator[ParticleState]:
        k = self.particles
        x = hold(xt, clamp)
        log_weight = torch.zeros(len(x) // k, k, dtype=torch.float64)
        log_psi = possible_psi = log_weight
        never = torch.zeros(len(log_weight), dtype=torch.bool)
        yield ParticleState(float(times[0]), x[::k], effective_sample_size(log_weight), never)
        for i in range(1, len(times)):
            with torch.no_grad():
                x = last(trajectory(kernel, x, times[i - 1 : i + 1], y=y, clamp=clamp, generator=generator))
                ahead = look_ahead(
                    self.reward, denoiser, x, times[i], y=y, clamp=clamp, generator=generator, draws=self.draws
                )
            log_target = ((self.gamma * ahead).logsumexp(0) - math.log(len(ahead))).view_as(log_psi)
            if i == len(times) - 1:
                break
            possible = log_target > -math.inf
            possible_psi = torch.where(possible, log_target, possible_psi)
            now = torch.where(possible, possible_psi, possible_psi - self.penalty)
            log_weight, log_psi = log_weight + now - log_psi, now

            ess = effective_sample_size(log_weight)
            # Equal weights have k up to rounding.
            poor = ess < self.threshold * k - 1e-9
            if bool(poor.any()):
                ancestor = torch.where(poor[:, None], systematic(log_weight, generator), torch.arange(k))
                log_psi, possible_psi = log_psi.gather(1, ancestor), possible_psi.gather(1, ancestor)
                log_weight = log_weight.masked_fill(poor[:, None], 0.0)
                x = _pick(x, ancestor)
            yield ParticleState(float(times[i]), x[::k], ess, poor)

        log_weight = log_weight + log_target - log_psi
        hopeless = (log_weight == -math.inf).all(-1, keepdim=True)
        ess = effective_sample_size(log_weight.masked_fill(hopeless, 0.0))
        yield ParticleState(0.0, _pick(x, choose(log_weight, 1, generator)[:, None]), ess, never)


def _pick(x: Int[Tensor, "n l"], index: Int[Tensor, "b j"]) -> Int[Tensor, "m l"]:
    """Those of each search's particles, in its order."""
    b, _ = index.shape
    first = torch.arange(b)[:, None] * (len(x) // b)
    return x[(first + index).flatten().to(x.device)]
