"""States of a trajectory from noise to data."""

from collections.abc import Iterable
from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor


class State(NamedTuple):
    """Tokens on their way from noise to data: `x` (b, l) at time `t`, 1 is noise and 0 data."""

    t: float
    x: Tensor


def last(states: Iterable[State]) -> Int[Tensor, "b l"]:
    """Run a sampler to its end and return the tokens of its last state."""
    state = None
    for state in states:  # noqa: B007
        pass
    if state is None:
        raise ValueError("Expected at least one state, got none.")
    return state.x
