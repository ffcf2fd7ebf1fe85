"""Draw docs/images/guidance/nos.png: python docs/figures/nos.py."""

from dataclasses import dataclass
from pathlib import Path

import torch
from panels import draw_row
from torch import Tensor
from world import ABSORBING, SIZE, World, classes

from discrete_diffusion.guidance import NOS
from discrete_diffusion.processes import Ancestral
from discrete_diffusion.schedules import uniform_grid

STEPS = 16


@dataclass(frozen=True)
class Opened:
    """The exact masked denoiser with a hidden state: the logits of the sixteen symbols at each position."""

    world: World

    def encode(self, xt: Tensor, t: Tensor, *, y: Tensor | None = None) -> Tensor:
        """(b, 2, 16); of a visible token they are 20 and otherwise 0."""
        visible = 20 * torch.nn.functional.one_hot(xt, SIZE + 1).double()
        return torch.where((xt == SIZE)[..., None], self.world.denoiser(xt, t, y=y), visible)[..., :SIZE]

    def decode(
        self, hidden: Tensor, xt: Tensor, t: Tensor, *, y: Tensor | None = None, at: Tensor | None = None
    ) -> Tensor:
        """log p(x_0 | hidden)."""
        log_x0 = self.world.process.log_x0(torch.nn.functional.pad(hidden, (0, 1)), xt)
        return log_x0 if at is None else log_x0[at]

    def __call__(self, xt: Tensor, t: Tensor, *, y: Tensor | None = None, at: Tensor | None = None) -> Tensor:
        """log p(x_0 | x_t)."""
        return self.decode(self.encode(xt, t, y=y), xt, t, at=at)


def likelihood(hidden: Tensor, t: Tensor) -> Tensor:
    """log p(y = 1) of two tokens drawn from their hidden states, each on its own."""
    first, second = hidden.softmax(-1).unbind(1)
    return torch.einsum("bi,bj,ij->b", first, second, classes()[..., 1]).log()


def draw(path: Path) -> None:
    """Masked diffusion: the hidden states held to the unguided distribution, less so, and not at all."""
    world, times = World(ABSORBING), uniform_grid(STEPS)
    base = Opened(world)
    distributions = [("unguided", world.distribution(Ancestral(world.process, base), times))]
    for stability in (3.0, 1.0, 0.3, 0.0):
        guided = NOS(base, likelihood, gamma=3.0, steps=20, step_size=0.3, stability=stability)
        distributions.append(
            (f"stability = {stability:g}", world.distribution(Ancestral(world.process, guided), times))
        )
    draw_row(path, distributions)


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "images" / "guidance" / "nos.png")
