"""Order in which guidance is applied to a model, the same for every sampler.

From the inside out: the denoiser, the methods that move its hidden states, the constraint on clean tokens, the methods
around the denoiser. For samplers with a kernel, it continues with the lift from denoiser to kernel, the constraint on
latents, and the methods around the kernel.
"""

from collections.abc import Sequence
from functools import reduce
from typing import TypeVar

from jaxtyping import Bool
from torch import Tensor

from discrete_diffusion.guidance.constraints import Allowed
from discrete_diffusion.guidance.protocols import Denoiser, Kernel, Model, Wrapper

ModelT = TypeVar("ModelT", bound=Model)


def fold(wrappers: Sequence[Wrapper], model: ModelT) -> ModelT:
    """Wrap `model` in each method in turn, the first innermost."""
    return reduce(lambda wrapped, wrapper: wrapper(wrapped), wrappers, model)


def guide_denoiser(
    denoiser: Denoiser,
    on_hidden: Sequence[Wrapper],
    allowed: Bool[Tensor, "l v"] | None,
    on_denoiser: Sequence[Wrapper],
) -> Denoiser:
    """Return the guided denoiser."""
    denoiser = fold(on_hidden, denoiser)
    return fold(on_denoiser, denoiser if allowed is None else Allowed(denoiser, allowed))


def guide_kernel(kernel: Kernel, allowed: Bool[Tensor, "l v"] | None, on_kernel: Sequence[Wrapper]) -> Kernel:
    """Return the guided kernel; `allowed` are the tokens that latents may hold."""
    return fold(on_kernel, kernel if allowed is None else Allowed(kernel, allowed))
