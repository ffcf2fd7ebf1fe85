"""Draw docs/images/idea.png: python docs/figures/idea.py."""

from itertools import pairwise
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from panels import show
from PIL import Image
from torch import Tensor
from world import NULL, SIZE, UNIFORM, World, ring

from discrete_diffusion.eval import ACCENT, INK, new_figure, save_figure
from discrete_diffusion.guidance import ClassifierFree
from discrete_diffusion.schedules import uniform_grid

STATE = (6, 10)  # the noisy sequence that the second row starts from
T, S = 0.5, 0.3
GAMMA = 5.0
STEPS = 64
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)


def noisy(t: float) -> Tensor:
    """p(x_t) (16, 16)."""
    alpha = float(UNIFORM.schedule.alpha(torch.tensor(t, dtype=torch.float64)))
    corruption = alpha * torch.eye(SIZE, dtype=torch.float64) + (1 - alpha) / SIZE
    return corruption.T @ ring() @ corruption


def product(log_probs: Tensor) -> Tensor:
    """The distribution (16, 16) of two tokens that are drawn each on its own."""
    first, second = log_probs[0].exp()
    return torch.outer(first, second)


def mark(axes: Axes) -> None:
    """A cross at the noisy sequence."""
    axes.plot(*STATE, marker="X", markersize=8, color=ACCENT, markeredgecolor="white", markeredgewidth=0.8)


def arrow(figure: Figure, start: Axes, end: Axes, text: str) -> None:
    """An arrow from one panel to the next, with what leads there above it."""
    left, right = start.get_position(), end.get_position()
    y = (left.y0 + left.y1) / 2
    style = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.3}
    tail, head = (left.x1 + 0.003, y), (right.x0 - 0.003, y)
    figure.add_artist(start.annotate("", head, tail, xycoords="figure fraction", arrowprops=style))
    middle = (left.x1 + right.x0) / 2
    figure.text(middle, y + 0.02, text, ha="center", va="bottom", fontsize=9.5, color=INK, family="monospace")


def draw(path: Path) -> None:
    """Noise takes the data away above; below a model, a process and guidance bring them back."""
    world = World(UNIFORM)
    guided = ClassifierFree(world.kernel, GAMMA, null_label=NULL)
    xt, t, s = torch.tensor([STATE]), torch.tensor([T], dtype=torch.float64), torch.tensor([S], dtype=torch.float64)
    y = torch.tensor([1])
    figure = new_figure(13.2, 5.0)
    grid = {"left": 0.008, "right": 0.992, "top": 0.945, "bottom": 0.065, "wspace": 0.62, "hspace": 0.2}
    axes = figure.subplots(2, 5, gridspec_kw=grid)
    above, below = axes

    for place, level in zip(above, LEVELS, strict=True):
        title = {0.0: "data, p(x₀)", 1.0: "noise, p(x₁)"}.get(level, f"p(xₜ), t = {level}")
        show(place, noisy(level), title, "")
    for start, end in pairwise(above):
        arrow(figure, start, end, "corrupt" if start is above[0] else "")

    at_state = torch.zeros(SIZE, SIZE)
    show(below[0], at_state, "one noisy sequence", f"xₜ at t = {T}")
    show(below[1], product(world.denoiser(xt, t)), "denoiser", "p(x₀ | xₜ)")
    show(below[2], product(world.kernel(xt, t, s)), "kernel", f"p(xₛ | xₜ), s = {S}")
    show(below[3], product(guided(xt, t, s, y=y)), "guided kernel", f"p(xₛ | xₜ, y), γ = {GAMMA:g}")
    show(below[4], world.distribution(guided, uniform_grid(STEPS), y=1), "samples", "their distribution, at t = 0")
    for place in below[:4]:
        mark(place)
    steps = ("network", "Ancestral", "guidance", "sample")
    for start, end, text in zip(below, below[1:], steps, strict=False):
        arrow(figure, start, end, text)
    Image.open(save_figure(figure, path)).convert("RGB").quantize(160, kmeans=1).save(path, optimize=True)


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "images" / "idea.png")
