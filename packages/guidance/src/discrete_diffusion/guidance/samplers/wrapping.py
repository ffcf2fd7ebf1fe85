"""Guidance methods applied in order."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from discrete_diffusion.guidance.protocols import Model

Wrapper = Callable[[Any], Any]
"""A guidance method that waits for its base: `lambda base: ClassifierFree(base, 2.0, null_label)`."""


def fold(wrappers: Sequence[Wrapper], model: Model) -> Model:
    """Wrap `model` in each method in turn; the last one is the outermost."""
    return reduce(lambda wrapped, wrapper: wrapper(wrapped), wrappers, model)
