"""Common part of the samplers of diffusion models."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.constraints import Allowed
from discrete_diffusion.guidance.drawing import sample_categorical
from discrete_diffusion.guidance.protocols import (
    ConditionalLift,
    Denoiser,
    Kernel,
    Lift,
    MaskingNoise,
    Rollout,
    ScheduledNoise,
    Search,
    Wrapper,
)
from discrete_diffusion.guidance.samplers.wrapping import guide_denoiser, guide_kernel
from discrete_diffusion.guidance.state import State
from discrete_diffusion.guidance.streams import RandomSource, SampleStreams, repeated


class KernelGuidanceError(ValueError):
    """Guidance around the kernel of a sampler that has none."""


@dataclass(frozen=True)
class GuidedModel:
    """Denoiser under guidance, and what its sampler needs to build the models that depend on it.

    Attributes:
        denoiser: The guided denoiser.
        on_kernel: Methods around the kernel, innermost first.
        latents: Tokens that a latent may hold, None for all.
    """

    denoiser: Denoiser
    on_kernel: Sequence[Wrapper] = ()
    latents: Bool[Tensor, "l v"] | None = None

    def kernel(self, lift: Lift) -> Kernel:
        """Return the guided kernel."""
        return guide_kernel(lift(denoiser=self.denoiser), self.latents, self.on_kernel)

    def conditional(self, lift: ConditionalLift) -> Denoiser:
        """Return a model of the latents with the signature of a denoiser, restricted to the tokens that they hold."""
        conditional = lift(denoiser=self.denoiser)
        return conditional if self.latents is None else Allowed(conditional, self.latents)

    def check_kernel_is_unguided(self, sampler: str) -> None:
        """Raise if there is guidance around the kernel.

        Raises:
            KernelGuidanceError: If there is.
        """
        if self.on_kernel:
            raise KernelGuidanceError(
                f"Expected no guidance around the kernel for {sampler}, which has no kernel to guide: guide the "
                "denoiser, or sample with AncestralSampler."
            )


@dataclass(frozen=True)
class Run:
    """Sampling run of a guided model.

    Attributes:
        rollout: Function from starting tokens to states.
        kernel: Reverse kernel, for searches that draw their steps themselves; None if the run has none.
        times: Times of the kernel's steps.
    """

    rollout: Rollout
    kernel: Kernel | None = None
    times: Float[Tensor, " n"] | None = None


class DiffusionSampler(ABC):
    """Sampler of a diffusion model; it implements `Sampler`.

    A subclass is a frozen dataclass with a `process` and its own settings. It implements `run`, which returns the
    sampling run of a guided model.
    """

    process: ScheduledNoise

    @abstractmethod
    def run(self, model: GuidedModel) -> Run:
        """Return the sampling run of a guided model.

        Raises:
            ValueError: If the sampler cannot apply the model's guidance or constraints.
        """

    def __call__(
        self,
        denoiser: Denoiser,
        shape: tuple[int, int],
        *,
        y: Int[Tensor, " b"] | None = None,
        on_hidden: Sequence[Wrapper] = (),
        on_denoiser: Sequence[Wrapper] = (),
        on_kernel: Sequence[Wrapper] = (),
        search: Search | None = None,
        allowed: Bool[Tensor, "l v"] | None = None,
        clamp: Int[Tensor, "b l"] | None = None,
        generator: RandomSource = None,
        device: torch.device | str = "cpu",
    ) -> Iterator[State]:
        """Yield every state of the samples; see `Sampler` for the arguments.

        Latents keep to `allowed` at every step, not only the last; a mask, which data never hold, is always allowed.

        Raises:
            ValueError: If the sampler cannot apply the guidance, the search or the constraints.
        """
        b, length = shape
        per_sample = 1 if search is None else search.rows(1)
        latents = None
        if allowed is not None:
            allowed = allowed.to(device)
            latents = allowed | self._masks(allowed.device)
        guided = guide_denoiser(denoiser, on_hidden, allowed, on_denoiser)
        run = self.run(GuidedModel(guided, on_kernel, latents))
        xt = self._start((b * per_sample, length), latents, repeated(generator, per_sample), device)
        if search is None:
            return run.rollout(xt, y=y, clamp=clamp, generator=generator)
        return search(
            run.rollout,
            xt,
            kernel=run.kernel,
            denoiser=None if run.kernel is None else guided,
            times=run.times,
            y=y,
            clamp=clamp,
            generator=generator,
        )

    def _start(
        self,
        shape: tuple[int, int],
        latents: Bool[Tensor, "l v"] | None,
        generator: RandomSource,
        device: torch.device | str,
    ) -> Int[Tensor, "b l"]:
        if latents is None and not isinstance(generator, SampleStreams):
            return self.process.prior(shape, generator=generator).to(device)
        log_noise = self.process.log_noise(torch.ones((), device=device))
        if latents is not None:
            log_noise = log_noise.where(latents, -torch.inf)
        return sample_categorical(log_noise.expand(*shape, -1), generator)

    def _masks(self, device: torch.device) -> Bool[Tensor, " v"]:
        """Return which token is all of the noise, as a mask is."""
        return self.process.log_noise(torch.ones((), device=device)) == 0


def masking(process: ScheduledNoise, sampler: str) -> MaskingNoise:
    """Return the process of a sampler for masked diffusion.

    Raises:
        ValueError: If it has no masks.
    """
    if not isinstance(process, MaskingNoise):
        raise ValueError(f"Expected masked diffusion for {sampler}, got {type(process).__name__}.")
    return process


def check_steps(steps: int) -> None:
    """Raise unless `steps` is at least 1.

    Raises:
        ValueError: If it is not.
    """
    if steps < 1:
        raise ValueError(f"Expected `steps` >= 1, got {steps}.")
