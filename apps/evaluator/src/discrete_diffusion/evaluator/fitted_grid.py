"""Time grid that is fitted to a model."""

from functools import partial

import torch

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.guidance import AncestralSampler, TimeGrid, fitted_times
from discrete_diffusion.processes import Process, step_costs


def fit_grid(checkpoint: Checkpoint, sequences: int, candidates: int, seed: int) -> TimeGrid:
    """Return the grid whose ancestral steps have the smallest discrete-time bound on sequences of the model.

    The model's own samples stand for data, so that models that are shared without data can be fitted as well. The fit
    costs 2 `candidates` - 1 network evaluations of each sequence.

    Args:
        checkpoint: Diffusion model.
        sequences: Number of sequences, drawn with `candidates` equal steps and without a label.
        candidates: Number of equally spaced times from which the grid is chosen.
        seed: Seed of the sequences and of their noise.

    Raises:
        ValueError: If `sequences` < 1 or `candidates` < 2.
    """
    for name, value, least in (("sequences", sequences, 1), ("candidates", candidates, 2)):
        if value < least:
            raise ValueError(f"Expected `grid.{name}` >= {least}, got {value}.")
    sampler = checkpoint.sampler()
    assert isinstance(sampler, AncestralSampler)
    assert isinstance(sampler.process, Process)
    x0 = checkpoint.sample(sequences, steps=candidates, seed=seed)
    times = torch.linspace(1, 0, candidates, device=x0.device)
    generator = torch.Generator().manual_seed(seed)
    costs = step_costs(sampler.process, checkpoint.denoiser(), x0, times, generator=generator)
    return partial(fitted_times, candidates=times.cpu(), costs=costs)
