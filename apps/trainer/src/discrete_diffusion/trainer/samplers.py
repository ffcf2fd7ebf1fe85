"""How each kind of model is sampled: the same call for all of them, guidance included."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Generator, Tensor

from discrete_diffusion.guidance import autoregressive, trajectory
from discrete_diffusion.guidance.sampling import State
from discrete_diffusion.processes import Ancestral, Process
from discrete_diffusion.schedules import uniform_grid

Model = Callable[..., Tensor]
Wrapper = Callable[[Model], Model]


@dataclass(frozen=True)
class AncestralSampler:
    """From noise to data in `steps` equal steps of time; guidance wraps the denoiser, its kernel, or both."""

    process: Process
    steps: int = 32

    def __call__(
        self,
        denoiser: Model,
        shape: tuple[int, int],
        *,
        y: Tensor | None = None,
        on_denoiser: Sequence[Wrapper] = (),
        on_kernel: Sequence[Wrapper] = (),
        clamp: Tensor | None = None,
        generator: Generator,
        device: torch.device | str = "cpu",
    ) -> Iterator[State]:
        """Yield every state; the last is the sample."""
        kernel = _fold(on_kernel, Ancestral(self.process, _fold(on_denoiser, denoiser)))
        xt = self.process.prior(shape, generator=generator).to(device)
        times = uniform_grid(self.steps).float()
        return trajectory(kernel, xt, times, y=y, clamp=clamp, generator=generator)


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
        on_denoiser: Sequence[Wrapper] = (),
        on_kernel: Sequence[Wrapper] = (),
        clamp: Tensor | None = None,
        generator: Generator,
        device: torch.device | str = "cpu",
    ) -> Iterator[State]:
        """Yield every state; the last is the sample."""
        model = _fold(on_kernel, _fold(on_denoiser, denoiser))
        xt = torch.full(shape, self.bos_id, device=device)
        return autoregressive(model, xt, y=y, clamp=clamp, generator=generator, use_at=True)


def _fold(wrappers: Sequence[Wrapper], model: Model) -> Model:
    return reduce(lambda wrapped, wrapper: wrapper(wrapped), wrappers, model)
