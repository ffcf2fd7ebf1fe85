"""Draw docs/images/guidance/classifier-free.png: python docs/figures/classifier_free.py."""

from pathlib import Path

from panels import draw_row
from world import NULL, UNIFORM, World, target

from discrete_diffusion.guidance import ClassifierFree
from discrete_diffusion.schedules import uniform_grid

STEPS = 64


def draw(path: Path) -> None:
    """Uniform noise: without the class, with it, and at two strengths beyond, beside what guidance aims at."""
    world = World(UNIFORM)
    distributions = []
    for gamma in (0, 1, 2, 5):
        guided = ClassifierFree(world.kernel, gamma, NULL)
        distributions.append((f"γ = {gamma}", world.distribution(guided, uniform_grid(STEPS), y=1)))
    draw_row(path, [*distributions, ("aimed at, γ = 5", target(5))])


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "images" / "guidance" / "classifier-free.png")
