"""How each kind of model is sampled: the same call for all of them, guidance included.

    hidden -> allowed -> denoiser -> (process) -> allowed -> kernel

is the order in which things are put around a model: methods that open it (they need the bare model), tokens that are
not allowed, guidance of the denoiser, and for diffusion its reverse kernel and guidance of that. A search, such as
particles, replaces the plain walk from noise to data.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import torch
from torch import Generator, Tensor

from discrete_diffusion.guidance import Allowed, Search, autoregressive, sample_categorical, trajectory
from discrete_diffusion.guidance.sampling import State
from discrete_diffusion.processes import Ancestral, Process
from discrete_diffusion.schedules import uniform_grid

Model = Callable[..., Tensor]
Wrapper = Callable[[Model], Model]


@dataclass(frozen=True)
class AncestralSampler:
    """From noise to data in `steps` equal steps of time."""

    process: Process
    steps: int = 32

    def __call__(
        self,
        denoiser: Model,
        shape: tuple[int, int],
        *,
        y: Tensor | None = None,
        on_hidden: Sequence[Wrapper] = (),
        on_denoiser: Sequence[Wrapper] = (),
        on_kernel: Sequence[Wrapper] = (),
        search: Search | None = None,
        allowed: Tensor | None = None,
        clamp: Tensor | None = None,
        generator: Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> Iterator[State]:
        """Yield every state; the last is the sample.

        Args:
            allowed: the tokens that each position may hold, (l, v). Latents keep to it at every step, not at the last
                one alone; a mask, which no data hold, is always allowed.
        """
        b, length = shape
        rows = b if search is None else search.rows(b)
        times = uniform_grid(self.steps).float()
        denoiser = _fold(on_hidden, denoiser)
        if allowed is None:
            xt = self.process.prior((rows, length), generator=generator).to(device)
        else:
            allowed, log_noise = allowed.to(device), self.process.log_noise(times).to(device)
            latents = allowed | (log_noise == 0)
            xt = sample_categorical(log_noise.where(latents, -torch.inf).expand(rows, -1, -1), generator)
            denoiser = Allowed(denoiser, allowed)
        denoiser = _fold(on_denoiser, denoiser)
        kernel: Model = Ancestral(self.process, denoiser)
        kernel = _fold(on_kernel, kernel if allowed is None else Allowed(kernel, latents))
        if search is None:
            return trajectory(kernel, xt, times, y=y, clamp=clamp, generator=generator)
        run = partial(trajectory, kernel, times=times)
        found = partial(search, run, xt, kernel=kernel, denoiser=denoiser, times=times)
        return found(y=y, clamp=clamp, generator=generator)


@dataclass(frozen=True)
class AutoregressiveSampler:
    """From left to right, one token at a time; guidance on the denoiser and on the kernel is one and the same."""

    bos_id: int

    def __call__(
        self,
        denoiser: Model,
        shape: tuple[int, int],
        *,
        y: Tensor | None = None,
        on_hidden: Sequence[Wrapper] = (),
        on_denoiser: Sequence[Wrapper] = (),
        on_kernel: Sequence[Wrapper] = (),
        search: Search | None = None,
        allowed: Tensor | None = None,
        clamp: Tensor | None = None,
        generator: Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> Iterator[State]:
        """Yield every state; the last is the sample."""
        b, length = shape
        model = _fold(on_hidden, denoiser)
        if allowed is not None:
            model = Allowed(model, allowed.to(device))
        model = _fold(on_kernel, _fold(on_denoiser, model))
        run = partial(autoregressive, model, use_at=True)
        xt = torch.full((b if search is None else search.rows(b), length), self.bos_id, device=device)
        walk = run if search is None else partial(search, run)
        return walk(xt, y=y, clamp=clamp, generator=generator)


def with_steps(sampler: Any, steps: int | None) -> Any:
    """The sampler with another number of steps; None leaves it as it is.

    Raises:
        ValueError: if it has none, or `steps` < 1.
    """
    if steps is None:
        return sampler
    if not hasattr(sampler, "steps"):
        raise ValueError("Expected no `steps`: this model is sampled one token at a time, as many as there are.")
    if steps < 1:
        raise ValueError(f"Expected `steps` >= 1, got {steps}.")
    return replace(sampler, steps=steps)


def _fold(wrappers: Sequence[Wrapper], model: Model) -> Model:
    return reduce(lambda wrapped, wrapper: wrapper(wrapped), wrappers, model)
