"""Draw docs/images/guidance/temperature.png: python docs/figures/temperature.py."""

from pathlib import Path

from panels import draw_row
from world import ABSORBING, World

from discrete_diffusion.guidance import Nucleus, Temperature, TopK
from discrete_diffusion.processes import Ancestral
from discrete_diffusion.schedules import uniform_grid

STEPS = 32


def draw(path: Path) -> None:
    """Masked diffusion at low and high temperature and truncated, around the denoiser; and around the kernel."""
    world, times = World(ABSORBING), uniform_grid(STEPS)
    around_denoiser = {
        "T = 1": world.denoiser,
        "T = 0.5": Temperature(world.denoiser, 0.5),
        "T = 2": Temperature(world.denoiser, 2),
        "nucleus, p = 0.7": Nucleus(world.denoiser, 0.7),
        "k = 2": TopK(world.denoiser, 2),
    }
    distributions = [
        (name, world.distribution(Ancestral(ABSORBING, model), times)) for name, model in around_denoiser.items()
    ]
    draw_row(path, [*distributions, ("T = 0.5, kernel", world.distribution(Temperature(world.kernel, 0.5), times))])


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "images" / "guidance" / "temperature.png")
