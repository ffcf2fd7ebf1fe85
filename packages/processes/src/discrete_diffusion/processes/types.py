"""The functions that this package takes and gives back."""

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

Network: TypeAlias = Callable[..., Tensor]
"""`network(xt, sigma, y=None, at=None)` -> logits (b, l, v), or (n, v) where the mask `at` (b, l) is true."""

LogDenoiser: TypeAlias = Callable[..., Tensor]
"""`(xt, t, *, y=None, at=None)` -> normalised log p(x_0 | x_t, y), (b, l, v), or (n, v) where `at` is true."""

LogKernel: TypeAlias = Callable[..., Tensor]
"""`(xt, t, s, *, y=None)` -> normalised log p(x_s | x_t, y), (b, l, v)."""


def given(**optional: Tensor | None) -> dict[str, Any]:
    """The arguments that are not None, so that a function without them can be a network, a denoiser or a kernel."""
    return {name: value for name, value in optional.items() if value is not None}
