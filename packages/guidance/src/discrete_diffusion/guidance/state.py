"""States of a sampling run."""

from collections.abc import Iterable
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor


# Tensors have no equality that is a single truth value.
@dataclass(frozen=True, eq=False)
class State:
    """Tokens at one time of a sampling run.

    A sampler with more to report yields a subclass, such as `ParticleState`.

    Args:
        t: Time, from 1 (noise) to 0 (data).
        x: Tokens.
    """

    t: float
    x: Int[Tensor, "b l"]


def last(states: Iterable[State]) -> Int[Tensor, "b l"]:
    """Run a sampler to its end and return the tokens of its last state.

    Raises:
        ValueError: If there is no state.
    """
    state = None
    for state in states:  # noqa: B007
        pass
    if state is None:
        raise ValueError("Expected at least one state, got none.")
    return state.x
