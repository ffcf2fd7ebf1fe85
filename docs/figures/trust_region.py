"""Draw docs/images/guidance/trust-region.png: python docs/figures/trust_region.py."""

from functools import partial
from math import inf
from pathlib import Path

import torch
from panels import plot, row, show, write
from torch import Tensor
from world import ABSORBING, World

from discrete_diffusion.eval import series_style
from discrete_diffusion.guidance import ClassifierBased, TrustRegion
from discrete_diffusion.schedules import uniform_grid

STEPS = 16
GAMMA = 10


def draw(path: Path) -> None:
    """Masked diffusion under strong guidance, without a bound and with two; and how far each step goes."""
    world, times = World(ABSORBING), uniform_grid(STEPS)
    figure, axes = row(4)
    for index, max_kl in enumerate((inf, 1.0, 0.3)):
        guidance = partial(ClassifierBased, likelihood=world.likelihood, gamma=GAMMA)
        guided = TrustRegion(world.kernel, guidance, max_kl)
        furthest: list[float] = []

        def watched(
            xt: Tensor, t: Tensor, s: Tensor, guided: TrustRegion = guided, furthest: list[float] = furthest
        ) -> Tensor:
            step, base = guided(xt, t, s), world.kernel(xt, t, s)
            each = torch.where(step > -inf, step.exp() * (step - base), 0.0).sum((1, 2))
            furthest.append(float(each.max()))
            return step

        name = "no bound" if max_kl == inf else f"max_kl = {max_kl:g}"
        show(axes[index], world.distribution(watched, times), f"γ = {GAMMA}, {name}")
        axes[3].plot(times[:-1].tolist(), furthest, label=name, linewidth=1.6, markersize=4, **series_style(index))
    plot(axes[3], "longest step, nats", "t, from noise to data")
    axes[3].set_xlim(1.04, -0.04)
    axes[3].set_xticks([1, 0.5, 0])
    axes[3].legend(frameon=False, fontsize=9)
    write(figure, path)


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "images" / "guidance" / "trust-region.png")
