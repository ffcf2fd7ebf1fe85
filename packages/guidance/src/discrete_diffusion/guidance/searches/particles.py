"""Sequential Monte Carlo for a reward."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.protocols import Denoiser, Kernel, Reward, Rollout
from discrete_diffusion.guidance.samplers.ancestral import trajectory
from discrete_diffusion.guidance.samplers.clamping import hold
from discrete_diffusion.guidance.searches.candidates import (
    check_gamma,
    choose,
    look_ahead,
    repeat_rows,
    require_diffusion,
)
from discrete_diffusion.guidance.state import State, last
from discrete_diffusion.guidance.streams import RandomSource, draw_uniform, repeated


@dataclass(frozen=True, eq=False)
class ParticleState(State):
    """State with the effective sample size of each search.

    Args:
        t: Time, from 1 (noise) to 0 (data).
        x: Tokens of the first particle of each search.
        ess: Effective sample size before resampling, in [1, particles], on the CPU.
        resampled: Whether the particles of each search were resampled, on the CPU.
    """

    ess: Float[Tensor, " b"]
    resampled: Bool[Tensor, " b"]


@dataclass(frozen=True)
class Particles:
    """Samples of p(x_0) exp(gamma r(x_0)) / Z by twisted sequential Monte Carlo (FK steering, arXiv 2501.06848).

    Each search has K particles. A step moves them by the kernel p(x_s | x_t) and multiplies their weights by

        w(t -> s) = psi_s / psi_t
        psi_1 = 1
        psi_s = mean of exp(gamma r(x0_hat)) over `draws` of x0_hat ~ p(x_0 | x_s)
        psi_0 = exp(gamma r(x_0))

    psi is stored with its particle, so that exactly the number that was multiplied in is divided out later. Hence

        product over steps of w = psi_0 / psi_1 = exp(gamma r(x_0)),

    *whatever the estimates*: the weighted distribution of whole paths, x0_hat included, is that of the kernel times
    exp(gamma r(x_0)), and its marginal in x_0 is the target. The estimates psi affect only the variance; they must be
    positive and depend only on the particle's own path. The particle drawn at the end has the target distribution up to
    O(1 / K). p(x_0) is the distribution that the kernel produces in the given steps: for a guided kernel, the guided
    distribution is tilted.

    Potentials that do not telescope have a different target. With exp(gamma r(x0_hat)) at every step, the reward counts
    once per step; so it does with the maximum or the sum over the path, unless the last weight divides the others out.
    A ratio with a newly estimated denominator is biased by a factor E[psi] E[1 / psi] > 1.

    If all draws of an estimate are impossible, psi must not be 0, since x_0 may still be possible. The particle then
    gets its last psi with a possible draw (1 if there was none) times exp(-penalty): a positive function of its own
    path. Impossible clean tokens do have weight zero; if a search has no others, its sample is one of them.

    Particles of a search are resampled systematically if its effective sample size is below threshold * K; their
    weights are equal afterwards. A step costs one call of the kernel and one of the denoiser, each with b * K rows (the
    last step, only the call of the kernel). With gamma = 0 or one particle, this is the ordinary sampler: one row, no
    reward.

    Args:
        reward: Clean tokens (n, l) to n numbers, -inf for impossible.
        gamma: Strength of the tilt, >= 0.
        particles: Number of particles K of each search.
        threshold: Share of K in [0, 1] below which particles are resampled: 0 is never (importance sampling), 1 always.
        penalty: Cost of an impossible estimate in nats, >= 0. It affects the efficiency, not the limiting distribution.
        draws: Number of draws in each estimate, from one call of the denoiser. A single draw is mostly noise where x_s
            says little about x_0, as at high levels of uniform noise, and resampling by it can then do harm.

    Raises:
        ValueError: If a number is out of range.
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
        """Return K rows for each search, or one if gamma = 0."""
        return b if self.gamma == 0 else b * self.particles

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
    ) -> Iterator[ParticleState]:
        """Yield the first particle of each search, and finally the drawn one; see `Search`. `rollout` is not used.

        Raises:
            ValueError: If the model is not a diffusion model or the numbers of rows do not match (at once), or a reward
                is NaN (while iterating).
        """
        kernel, denoiser, times = require_diffusion(kernel, denoiser, times)
        y, clamp = repeat_rows(xt, self.rows(1), y, clamp)
        # The call checks `times` and `clamp`, and samples nothing yet.
        plain = trajectory(kernel, xt, times, y=y, clamp=clamp, generator=repeated(generator, self.rows(1)))
        if self.rows(1) == 1:
            alone, never = torch.ones(len(xt), dtype=torch.float64), torch.zeros(len(xt), dtype=torch.bool)
            return (ParticleState(state.t, state.x, alone, never) for state in plain)
        return self._steps(kernel, denoiser, xt, times, y, clamp, generator)

    def _steps(
        self,
        kernel: Kernel,
        denoiser: Denoiser,
        xt: Int[Tensor, "n l"],
        times: Float[Tensor, " m"],
        y: Int[Tensor, " n"] | None,
        clamp: Int[Tensor, "n l"] | None,
        generator: RandomSource,
    ) -> Iterator[ParticleState]:
        k, each = self.particles, repeated(generator, self.particles)
        x = hold(xt, clamp)
        log_weight = torch.zeros(len(x) // k, k, dtype=torch.float64)
        log_psi = possible_psi = log_weight
        never = torch.zeros(len(log_weight), dtype=torch.bool)
        yield ParticleState(float(times[0]), x[::k], effective_sample_size(log_weight), never)
        for i in range(1, len(times)):
            with torch.no_grad():
                x = last(trajectory(kernel, x, times[i - 1 : i + 1], y=y, clamp=clamp, generator=each))
                ahead = look_ahead(
                    self.reward, denoiser, x, times[i], y=y, clamp=clamp, generator=each, draws=self.draws
                )
            log_target = ((self.gamma * ahead).logsumexp(0) - math.log(len(ahead))).view_as(log_psi)
            if i == len(times) - 1:
                break
            possible = log_target > -math.inf
            possible_psi = torch.where(possible, log_target, possible_psi)
            now = torch.where(possible, possible_psi, possible_psi - self.penalty)
            log_weight, log_psi = log_weight + now - log_psi, now

            ess = effective_sample_size(log_weight)
            # Equal weights have an effective sample size of k, up to rounding.
            poor = ess < self.threshold * k - 1e-9
            # Drawn whether a search resamples or not: its numbers may not depend on the other searches.
            drawn = systematic(log_weight, generator)
            if bool(poor.any()):
                ancestor = torch.where(poor[:, None], drawn, torch.arange(k))
                log_psi, possible_psi = log_psi.gather(1, ancestor), possible_psi.gather(1, ancestor)
                log_weight = log_weight.masked_fill(poor[:, None], 0.0)
                x = _pick(x, ancestor)
            yield ParticleState(float(times[i]), x[::k], ess, poor)

        log_weight = log_weight + log_target - log_psi
        hopeless = (log_weight == -math.inf).all(-1, keepdim=True)
        ess = effective_sample_size(log_weight.masked_fill(hopeless, 0.0))
        yield ParticleState(0.0, _pick(x, choose(log_weight, 1, generator)[:, None]), ess, never)


def effective_sample_size(log_weights: Float[Tensor, "b k"]) -> Float[Tensor, " b"]:
    """Return (sum w)^2 / sum w^2: k for equal weights, 1 if one particle has all the weight."""
    weights = (log_weights - log_weights.amax(-1, keepdim=True)).exp()
    return weights.sum(-1) ** 2 / (weights**2).sum(-1)


def systematic(log_weights: Float[Tensor, "b k"], generator: RandomSource = None) -> Int[Tensor, "b k"]:
    """Draw k ancestors in each row with one uniform number u: the particles at the quantiles (u + i) / k, i < k.

    A particle of normalized weight w becomes the ancestor of floor(k w) or ceil(k w) particles, k w on average, so
    resampling is unbiased and its error less than one particle (Carpenter et al. 1999; Douc and Cappé,
    arXiv cs/0507025). A particle of weight zero has no descendants.

    Args:
        log_weights: Log-weights up to a constant in each row, at least one of them finite.
        generator: Source of randomness, torch's default generator if None.
    """
    k = log_weights.shape[-1]
    weights = (log_weights - log_weights.amax(-1, keepdim=True)).exp()
    cdf = weights.cumsum(-1)
    u = draw_uniform((len(cdf), 1), generator, cdf.device).to(cdf.dtype)
    index = torch.arange(k, device=cdf.device)
    ancestors = torch.searchsorted(cdf, (u + index) / k * cdf[:, -1:], right=True)
    # (u + k - 1) / k may round to 1, which would be an index beyond the last particle.
    return ancestors.minimum(torch.where(weights > 0, index, 0).amax(-1, keepdim=True))


def _pick(x: Int[Tensor, "n l"], index: Int[Tensor, "b j"]) -> Int[Tensor, "m l"]:
    """Return the particles of each search at the given indices."""
    b, _ = index.shape
    first = torch.arange(b)[:, None] * (len(x) // b)
    return x[(first + index).flatten().to(x.device)]
