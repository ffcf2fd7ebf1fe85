"""Draw docs/images/guidance/constraints.png: python docs/figures/constraints.py."""

from pathlib import Path

import torch
from panels import row, show, write
from particles import TIMES, drawn
from torch import Tensor
from world import ABSORBING, SIZE, UNIFORM, World, on_islands, ring

from discrete_diffusion.eval import MUTED
from discrete_diffusion.guidance import Allowed, Particles, constraints
from discrete_diffusion.processes import Ancestral, Process

FIRST = 13  # what the first token is to be at least


def allowed_distribution(process: Process) -> Tensor:
    """The distribution of samples whose denoiser predicts allowed tokens alone."""
    world = World(process)
    allowed = constraints.only({0: range(FIRST, SIZE)}, 2, process.vocab_size)
    return world.distribution(Ancestral(process, Allowed(world.denoiser, allowed)), TIMES)


def reward(x0: Tensor) -> Tensor:
    """Zero where the first token is allowed, impossible elsewhere."""
    return torch.where(x0[:, 0] >= FIRST, 0.0, -torch.inf)


def draw(path: Path) -> None:
    """Draw the data, the target distribution, and the samples of each method."""
    allowed = ring().where(torch.arange(SIZE)[:, None] >= FIRST, 0)
    distributions = {
        "data": ring(),
        "p(x | allowed)": allowed / allowed.sum(),
        "Allowed, masks": allowed_distribution(ABSORBING),
        "Allowed, uniform noise": allowed_distribution(UNIFORM),
        "32 particles, masks": drawn(Particles(reward, 1, 32)),
    }
    figure, axes = row(len(distributions))
    for place, (title, distribution) in zip(axes, distributions.items(), strict=True):
        show(
            place,
            distribution,
            title,
            f"allowed {distribution[FIRST:].sum():.0%}  ·  islands {on_islands(distribution):.0%}",
        )
        place.axvline(FIRST - 0.5, color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)))
    write(figure, path)


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "images" / "guidance" / "constraints.png")
