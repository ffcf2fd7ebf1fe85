"""Draw docs/images/guidance/classifier-based.png: python docs/figures/classifier_based.py."""

from pathlib import Path

from panels import draw_row
from world import ABSORBING, World, target

from discrete_diffusion.guidance import ClassifierBased
from discrete_diffusion.processes import Ancestral
from discrete_diffusion.schedules import uniform_grid

STEPS = 16
GAMMA = 5


def draw(path: Path) -> None:
    """Masked diffusion: on the kernel strong guidance reveals both tokens at once, on the denoiser it does not."""
    world, times = World(ABSORBING), uniform_grid(STEPS)
    on_kernel = ClassifierBased(world.kernel, world.likelihood, GAMMA)
    on_denoiser = Ancestral(world.process, ClassifierBased(world.denoiser, world.likelihood, GAMMA))
    draw_row(
        path,
        [
            ("unguided", world.distribution(world.kernel, times)),
            ("γ = 1", world.distribution(ClassifierBased(world.kernel, world.likelihood, 1), times)),
            (f"γ = {GAMMA}, kernel", world.distribution(on_kernel, times)),
            (f"γ = {GAMMA}, denoiser", world.distribution(on_denoiser, times)),
            (f"aimed at, γ = {GAMMA}", target(GAMMA)),
        ],
    )


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "images" / "guidance" / "classifier-based.png")
