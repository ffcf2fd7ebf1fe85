"""Draw docs/images/guidance/strengths.png: python docs/figures/strengths.py."""

from pathlib import Path

import torch
from panels import plot, row, show, write
from world import ABSORBING, World

from discrete_diffusion.eval import series_style
from discrete_diffusion.guidance import ClassifierBased, CosineRamp, Interval, Ramp, Strength, strength_at
from discrete_diffusion.schedules import uniform_grid

STEPS = 16
STRENGTHS: dict[str, Strength] = {
    "constant": 5,
    "ramp": Ramp(0, 5),
    "cosine": CosineRamp(0, 5),
    "interval": Interval(5, 0.2, 0.8),
}


def draw(path: Path) -> None:
    """The strengths as functions of time, and what masked diffusion draws under each."""
    world, times = World(ABSORBING), uniform_grid(STEPS)
    figure, axes = row(5)
    t = torch.linspace(1, 0, 401, dtype=torch.float64)
    for index, (name, gamma) in enumerate(STRENGTHS.items()):
        axes[0].plot(
            t.tolist(),
            strength_at(gamma, t).tolist(),
            label=name,
            linewidth=1.6,
            **(series_style(index) | {"marker": ""}),
        )
        show(axes[index + 1], world.distribution(ClassifierBased(world.kernel, world.likelihood, gamma), times), name)
    plot(axes[0], "γ(t)", "t, from noise to data")
    axes[0].set_ylim(-0.2, 7.8)
    axes[0].set_yticks(range(6))
    axes[0].invert_xaxis()
    axes[0].legend(frameon=False, fontsize=8.5, loc="upper center", ncols=2, columnspacing=1, handlelength=1.5)
    write(figure, path)


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "images" / "guidance" / "strengths.png")
