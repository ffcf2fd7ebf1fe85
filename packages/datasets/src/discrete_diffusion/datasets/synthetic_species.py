"""Synthetic genomes."""

import pyarrow as pa

import datasets
from discrete_diffusion.datasets.species_distribution import SyntheticSpecies


def synthetic_species(
    size: int = 20_000,
    length: int = 256,
    species: int = 10,
    *,
    order: int = 2,
    divergence: float = 0.28,
    seed: int = 0,
) -> datasets.Dataset:
    """Return `size` sequences of `length` letters, as many of each species, with the columns `sequence` and `species`.

    `SyntheticSpecies.drawn(species, order, divergence, seed)` is their distribution.

    Raises:
        ValueError: If a number is too small, or `order` too large.
    """
    for name, value, least in (("size", size, 1), ("length", length, 1), ("species", species, 2), ("order", order, 0)):
        if value < least:
            raise ValueError(f"Expected `{name}` >= {least}, got {value}.")
    if order > 6:
        raise ValueError(f"Expected `order` <= 6, got {order}.")
    if divergence < 0:
        raise ValueError(f"Expected `divergence` >= 0, got {divergence}.")
    distribution = SyntheticSpecies.drawn(species, order, divergence, seed)
    sequences, which = distribution.sample(size, length, seed)
    rows = pa.table({"sequence": sequences, "species": [distribution.names[s] for s in which]})
    return datasets.Dataset(datasets.table.InMemoryTable(rows))
