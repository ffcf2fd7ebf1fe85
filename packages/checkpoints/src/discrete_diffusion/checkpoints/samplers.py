"""Number of sampling steps of a checkpoint."""

from dataclasses import replace
from typing import Any


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
