"""Draw docs/images/guidance/hybrid.png: python docs/figures/hybrid.py."""

from pathlib import Path

from panels import plot, row, show, write
from world import ABSORBING, UNIFORM, World, total_variation

from discrete_diffusion.eval import series_style
from discrete_diffusion.guidance import ClassifierBased, Hybrid
from discrete_diffusion.schedules import uniform_grid

STEPS = 16
GAMMA = 2
EXACT = (0, 2, 4, 8, 12, 16, 24, 32)


def draw(path: Path) -> None:
    """Masked diffusion, three numbers of exact jumps; and the distance to the exact distribution over all of them."""
    figure, axes = row(4)
    for index, (noise, process) in enumerate((("masks", ABSORBING), ("uniform noise", UNIFORM))):
        world, times = World(process), uniform_grid(STEPS)
        whole = world.distribution(ClassifierBased(world.kernel, world.likelihood, GAMMA), times)
        distributions = {n: world.distribution(Hybrid(world.kernel, world.likelihood, GAMMA, n), times) for n in EXACT}
        distances = [total_variation(distribution, whole) for distribution in distributions.values()]
        axes[3].plot(list(distributions), distances, label=noise, linewidth=1.6, markersize=4, **series_style(index))
        if process is ABSORBING:
            for place, n in enumerate((0, 8, 32)):
                show(axes[place], distributions[n], f"exact = {n}" + (", every jump" if n == 32 else ""))
    plot(axes[3], "distance to exact", "exact")
    axes[3].legend(frameon=False, fontsize=9)
    write(figure, path)


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "images" / "guidance" / "hybrid.png")
