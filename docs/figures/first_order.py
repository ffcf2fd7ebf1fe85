"""Draw docs/images/guidance/first-order.png: python docs/figures/first_order.py."""

from pathlib import Path

from panels import row, show, write
from world import ABSORBING, UNIFORM, World, total_variation

from discrete_diffusion.guidance import ClassifierBased, FirstOrder
from discrete_diffusion.schedules import uniform_grid

STEPS = 32
GAMMA = 2


def draw(path: Path) -> None:
    """The exact distribution beside that of the gradient, for uniform noise and for masks."""
    figure, axes = row(4)
    for place, (noise, process) in enumerate((("uniform", UNIFORM), ("masks", ABSORBING))):
        world, times = World(process), uniform_grid(STEPS)
        exact = world.distribution(ClassifierBased(world.kernel, world.likelihood, GAMMA), times)
        first = world.distribution(FirstOrder(world.kernel, world.likelihood, GAMMA), times)
        show(axes[2 * place], exact, f"{noise}, exact")
        show(
            axes[2 * place + 1],
            first,
            f"{noise}, first order",
            f"distance to exact {total_variation(first, exact):.2f}",
        )
    write(figure, path)


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "images" / "guidance" / "first-order.png")
