"""Number of sampling steps of a checkpoint."""

from dataclasses import replace
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class SteppedSampler(Protocol):
    """Sampler with a number of steps, a frozen dataclass."""

    @property
    def steps(self) -> int:
        """Number of steps."""
        ...


def with_steps(sampler: Any, steps: int | None) -> Any:
    """Return the sampler with another number of steps, or itself if `steps` is None.

    Raises:
        ValueError: If the sampler has no steps, or `steps` < 1.
        TypeError: If `steps` is no integer.
    """
    if steps is None:
        return sampler
    if not isinstance(sampler, SteppedSampler):
        raise ValueError("Expected no `steps`: this model is sampled one token at a time, as many as there are.")
    if not isinstance(steps, int) or isinstance(steps, bool):
        raise TypeError(f"Expected an integer `steps`, got {steps!r:.80}.")
    if steps < 1:
        raise ValueError(f"Expected `steps` >= 1, got {steps}.")
    return replace(sampler, steps=steps)  # type: ignore[type-var]
