"""The two kinds of function that everything here takes and returns."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Model = Callable[..., Tensor]
"""A denoiser or a kernel, or a plain function that takes fewer of the keywords than they do."""

LogLikelihood = Callable[[Tensor, Tensor], Tensor]
"""What steers: (x, t) -> log p(y | x_t) of the one condition that is wanted, one number per row, (b,).

x are tokens (b, l); for methods that follow a gradient, as their docstrings say, floats in their place: one-hots
(b, l, v) or hidden states (b, l, d).
"""


@runtime_checkable
class Denoiser(Protocol):
    """What the clean tokens may be: log p(x_0 | x_t, y), normalized over the vocabulary, impossible is -inf.

    Only the rows of `at` come back, in row-major order, where it is given.
    """

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        /,
        *,
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return log p(x_0 | x_t, y)."""
        ...


@runtime_checkable
class Kernel(Protocol):
    """One reverse step, each position on its own: log p(x_s | x_t, y) with s < t, normalized, impossible is -inf.

    s = 0 means the data itself.
    """

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        t: Float[Tensor, " b"],
        s: Float[Tensor, " b"],
        /,
        *,
        y: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b l v"]:
        """Return log p(x_s | x_t, y)."""
        ...


@runtime_checkable
class Noise(Protocol):
    """Noise distribution of a forward process, pi: the part of a process that a sampler starts from."""

    def prior(self, shape: tuple[int, ...], *, generator: torch.Generator | None = None) -> Int[Tensor, "..."]:
        """Draw tokens from pi, on the generator's device."""
        ...

    def log_noise(self, like: Float[Tensor, "..."]) -> Float[Tensor, " v"]:
        """Return log pi, in the dtype and on the device of `like`."""
        ...


@runtime_checkable
class Lift(Protocol):
    """From a denoiser to a reverse kernel of its process, such as the ancestral one."""

    def __call__(self, *, denoiser: Denoiser) -> Kernel:
        """Return log p(x_s | x_t, y) of the denoiser."""
        ...


def evaluate(
    model: Model,
    xt: Int[Tensor, "b l"],
    *times: Float[Tensor, " b"],
    y: Int[Tensor, " b"] | None = None,
    at: Bool[Tensor, "b l"] | None = None,
) -> Float[Tensor, "*rows v"]:
    """Call a model with the keywords that have a value, so that a function which knows neither is a model too."""
    keywords: dict[str, Any] = {}
    if y is not None:
        keywords["y"] = y
    if at is not None:
        keywords["at"] = at
    return model(xt, *times, **keywords)


def is_left_to_right(model: Model) -> bool:
    """Tell whether a model means log p(x_i | x_{<i}): whether what its wrappers' `base` ends at has `left_to_right`."""
    while hasattr(model, "base"):
        model = model.base
    return bool(getattr(model, "left_to_right", False))
