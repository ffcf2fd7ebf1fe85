"""Draw docs/images/guidance/particles.png: python docs/figures/particles.py.

The other searches' pictures are made of the same parts.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from matplotlib.axes import Axes
from panels import plot, row, show, write
from torch import Tensor
from world import ABSORBING, SIZE, World, classes, empirical, reward, total_variation

from discrete_diffusion.eval import INK, MUTED, series_style
from discrete_diffusion.guidance import Model, Particles, Search, last, trajectory
from discrete_diffusion.schedules import uniform_grid

TIMES = uniform_grid(16)
GAMMA = 10
SEARCHES = 3000
COUNTS = (1, 2, 4, 8, 16)


def tabulated(model: Model) -> Model:
    """Model of masks evaluated on all 17 * 17 states instead of each row; the time is that of the first row."""
    v = SIZE + 1
    states = torch.cartesian_prod(torch.arange(v), torch.arange(v))

    def looked_up(xt: Tensor, *times: Tensor) -> Tensor:
        return model(states, *(time[:1].expand(len(states)) for time in times))[xt[:, 0] * v + xt[:, 1]]

    return looked_up


def drawn(search: Search) -> Tensor:
    """The distribution (16, 16) of what many searches of masked diffusion draw."""
    world, generator = World(ABSORBING), torch.Generator().manual_seed(0)
    kernel, denoiser = tabulated(world.kernel), tabulated(world.denoiser)
    masks = ABSORBING.prior((search.rows(SEARCHES), 2))
    run = partial(trajectory, kernel, times=TIMES)
    return empirical(last(search(run, masks, kernel=kernel, denoiser=denoiser, times=TIMES, generator=generator)))


def aimed() -> Tensor:
    """p(x_0) exp(gamma r(x_0)) / Z (16, 16) with p what the sampler itself draws."""
    distribution = World(ABSORBING).distribution(World(ABSORBING).kernel, TIMES) * classes()[..., 1] ** GAMMA
    return distribution / distribution.sum()


def draw_distances(axes: Axes, lines: Mapping[str, Mapping[int, Tensor]], x_label: str) -> None:
    """Draw the total variation between each distribution and the one that is aimed at, over a number of candidates."""
    for index, (name, distributions) in enumerate(lines.items()):
        far = [total_variation(distribution, aimed()) for distribution in distributions.values()]
        axes.plot(list(distributions), far, label=name, linewidth=1.6, markersize=4, **series_style(index))
    cells = torch.multinomial(aimed().flatten(), SEARCHES, True, generator=torch.Generator().manual_seed(1))
    floor = total_variation(empirical(torch.stack([cells // SIZE, cells % SIZE], -1)), aimed())
    axes.axhline(floor, color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)))
    axes.annotate("exact draws", (1, floor), (0, 3), textcoords="offset points", fontsize=8, color=MUTED)
    counts = sorted(set().union(*lines.values()))
    plot(axes, "distance to it", x_label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_ylim(0, 1)
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="upper right", borderaxespad=0)


def draw_search(
    path: Path, distributions: Mapping[str, Tensor], lines: Mapping[str, Mapping[int, Tensor]], x_label: str
) -> None:
    """Write distributions, the one that is aimed at, and how far from it each of the lines is."""
    distributions = {**distributions, f"aimed at, γ = {GAMMA}": aimed()}
    figure, axes = row(len(distributions) + 1)
    for place, (title, distribution) in zip(axes, distributions.items(), strict=False):
        show(place, distribution, title)
    draw_distances(axes[-1], lines, x_label)
    write(figure, path)


def draw(path: Path) -> None:
    """What few and many particles draw, and how far that is from their target."""
    one = {k: drawn(Particles(reward, GAMMA, k)) for k in COUNTS}
    eight = {k: drawn(Particles(reward, GAMMA, k, draws=8)) for k in COUNTS}
    never = {k: drawn(Particles(reward, GAMMA, k, threshold=0)) for k in COUNTS}
    shown = {"1 particle": eight[1], "4 particles": eight[4], "16 particles": eight[16]}
    lines = {"draws = 8": eight, "draws = 1": one, "threshold = 0": never}
    draw_search(path, shown, lines, "particles")


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "images" / "guidance" / "particles.png")
