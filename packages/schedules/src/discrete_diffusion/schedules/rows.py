"""Random numbers of the rows of a batch that do not depend on the split into batches."""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Shaped
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


class RowGenerators(Generator):
    """Generator for a batch whose rows have a generator each, on the CPU.

    `draw_rows` draws row i from `rows[i]` alone, so that the numbers of a row do not depend on its batch. Times of
    `LowDiscrepancyTimes`, which are spread over a batch otherwise, are independent. Code that draws from this generator
    itself gets the numbers of the seed of the first row.

    Args:
        seeds: Seed of each row. Generators of the CPU use the lower 32 bits.

    Attributes:
        rows: Generator of each row.

    Raises:
        ValueError: If there is no seed.
    """

    def __new__(cls, seeds: Iterable[int]) -> "RowGenerators":  # noqa: D102
        return super().__new__(cls)

    def __init__(self, seeds: Iterable[int]) -> None:
        seeds = list(seeds)
        if not seeds:
            raise ValueError("Expected a seed for each row in `seeds`, got none.")
        self.rows = [Generator().manual_seed(seed) for seed in seeds]
        self.manual_seed(seeds[0])


def draw_rows(
    draw: Callable[[int, Generator | None], Tensor], n: int, generator: Generator | None
) -> Shaped[Tensor, "{n} ..."]:
    """Return the random numbers of `n` rows.

    Those of a `BatchGenerator` are rows of the numbers of the whole batch; `RowGenerators` draw each row alone.

    Args:
        draw: Function from a number of rows and a generator to a tensor with that many rows.
        n: Number of rows.
        generator: Generator to draw from.

    Raises:
        ValueError: If the rows are not all in the batch of the generator.
    """
    if isinstance(generator, RowGenerators):
        if n != len(generator.rows):
            raise ValueError(f"Expected {len(generator.rows)} rows, one for each generator, got {n}.")
        return torch.cat([draw(1, source) for source in generator.rows])
    if not isinstance(generator, BatchGenerator):
        return draw(n, generator)
    end = generator.first + n
    if end > generator.rows:
        raise ValueError(f"Expected rows of a batch of {generator.rows}, got {generator.first} to {end - 1}.")
    return draw(generator.rows, generator.whole)[generator.first : end]
