"""Random numbers of the rows of a batch that is split into parts."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor


class BatchGenerator(Generator):
    """Generator for one part of a batch that is split among processes, or into several passes.

    `draw_rows` draws the numbers of the whole batch from `whole` and returns those of the part's rows, so that the
    numbers of a row depend on its index in the batch and not on the split. Code that draws from this generator itself
    gets numbers that are independent for each seed, as from any other generator.

    Args:
        device: Device of both generators.

    Attributes:
        whole: Generator of the numbers of the whole batch. It must have the same state for every part.
        rows: Number of rows of the whole batch.
        first: Index of the part's first row in the whole batch.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.whole = Generator(device)
        self.rows = 1
        self.first = 0


def draw_rows(draw: Callable[[int, Generator | None], Tensor], n: int, generator: Generator | None) -> Tensor:
    """Return the random numbers of `n` rows, which for a `BatchGenerator` are rows of those of the whole batch.

    Args:
        draw: Function from a number of rows and a generator to a tensor with that many rows.
        n: Number of rows.
        generator: Generator to draw from.

    Raises:
        ValueError: If the rows are not all in the batch of the generator.
    """
    if not isinstance(generator, BatchGenerator):
        return draw(n, generator)
    end = generator.first + n
    if end > generator.rows:
        raise ValueError(f"Expected rows of a batch of {generator.rows}, got {generator.first} to {end - 1}.")
    return draw(generator.rows, generator.whole)[generator.first : end]
