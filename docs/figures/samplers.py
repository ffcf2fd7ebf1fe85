"""Draw docs/images/samplers.png: python docs/figures/samplers.py."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import torch
from panels import write
from torch import Tensor
from world import ABSORBING, SIZE, UNIFORM, World, ring, total_variation

from discrete_diffusion.eval import new_figure, series_style, style_axes
from discrete_diffusion.guidance import Model, TauLeaping
from discrete_diffusion.guidance.samplers.leaping import leap, second_stage
from discrete_diffusion.processes import (
    Ancestral,
    Capped,
    NoisyConditional,
    PredictorCorrector,
    Process,
    Remasking,
    ReverseRates,
)
from discrete_diffusion.schedules import uniform_grid

BUDGETS = (4, 8, 16, 32, 64)
Curve = tuple[str, list[tuple[int, float]]]


def product(step: Tensor) -> Tensor:
    """The matrix over pairs of tokens, (n, v * v), of positions drawn independently from (n, 2, v)."""
    return torch.einsum("ni,nj->nij", step[:, 0], step[:, 1]).flatten(1)


def pairs(process: Process) -> Tensor:
    """Every sequence, (v * v, 2)."""
    v = process.vocab_size
    return torch.cartesian_prod(torch.arange(v), torch.arange(v))


def by_kernel(world: World, kernel: Model, steps: int) -> float:
    """Total variation to the data after so many steps of a kernel."""
    return total_variation(world.distribution(kernel, uniform_grid(steps)), ring())


def with_corrections(world: World, steps: int) -> float:
    """The same for ancestral steps, each followed by one Gibbs step at a random position."""
    x, v = pairs(world.process), world.process.vocab_size
    conditional = NoisyConditional(world.process, world.denoiser)
    distribution = torch.full((v * v,), 1 / v**2, dtype=torch.float64)
    for t, s in pairwise(uniform_grid(steps)):
        distribution = distribution @ product(world.kernel(x, t.expand(len(x)), s.expand(len(x))).exp())
        if s > 0:
            gibbs = conditional(x, s.expand(len(x))).exp()
            keep = torch.nn.functional.one_hot(x, v).double()
            first, second = (torch.stack([gibbs[:, 0], keep[:, 1]], 1), torch.stack([keep[:, 0], gibbs[:, 1]], 1))
            distribution = distribution @ (0.5 * product(first) + 0.5 * product(second))
    return total_variation(distribution.view(v, v), ring())


def by_two_stages(world: World, steps: int) -> float:
    """The same for the trapezoidal scheme, with an ancestral last step."""
    x, v = pairs(world.process), world.process.vocab_size
    rates = ReverseRates(world.process, world.denoiser)
    noise = world.process.log_noise(torch.zeros((), dtype=torch.float64)).exp()
    distribution, theta = torch.outer(noise, noise).flatten(), 0.5
    for t, s in pairwise(uniform_grid(steps)):
        if s == 0:
            distribution = distribution @ product(world.kernel(x, t.expand(len(x)), s.expand(len(x))).exp())
            continue
        duration = (t - s).expand(len(x))
        first = rates(x, t.expand(len(x))).exp()
        later = rates(x, t.expand(len(x)) - theta * duration).exp()
        middle = distribution[:, None] * product(leap(first, x, theta * duration).exp())
        after = torch.zeros_like(distribution)
        for begin in (distribution > 0).nonzero()[:, 0].tolist():
            reached = middle[begin] > 1e-15
            second = second_stage(first[begin].expand(int(reached.sum()), -1, -1), later[reached], theta)
            step = leap(second, x[reached], (1 - theta) * duration[reached]).exp()
            after += middle[begin][reached] @ product(step)
        distribution = after
    return total_variation(distribution.view(v, v)[:SIZE, :SIZE], ring())


def curves(process: Process) -> Iterator[Curve]:
    """Total variation against network evaluations, for each sampler of a process."""
    world = World(process)

    def leaping() -> Model:
        return TauLeaping(ReverseRates(process, world.denoiser), world.kernel)

    kernels: dict[str, Callable[[], Model]] = {
        "ancestral": lambda: Ancestral(process, world.denoiser),
        "tau-leaping": leaping,
        "predictor-corrector, ψ = 0.9": lambda: PredictorCorrector(process, world.denoiser, 0.9),
    }
    if process is ABSORBING:
        kernels["remasking, cap 0.02"] = lambda: Remasking(process, world.denoiser, Capped(0.02))
    for name, make in kernels.items():
        yield name, [(n, by_kernel(world, make(), n)) for n in BUDGETS]
    yield "trapezoidal", [(n, by_two_stages(world, n // 2)) for n in BUDGETS[:-1]]
    if process is UNIFORM:
        yield "Gibbs-corrected", [(n, with_corrections(world, n // 2)) for n in BUDGETS]


def draw(path: Path) -> None:
    """Distance to the data against evaluations, on masks and on uniform noise."""
    figure = new_figure(11.0, 4.2)
    axes = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.075, right=0.985, top=0.88, bottom=0.15, wspace=0.08)
    styles: dict[str, int] = {}
    for place, process, title in zip(axes, (ABSORBING, UNIFORM), ("Masks", "Uniform noise"), strict=True):
        for name, points in curves(process):
            style = series_style(styles.setdefault(name, len(styles)))
            x, y = zip(*points, strict=True)
            place.plot(x, y, label=name, linewidth=1.6, markersize=5, **style)
        label = "total variation distance to the data" if place is axes[0] else ""
        style_axes(place, title=title, x_label="network evaluations per sample", y_label=label, pad=10)
        place.set_xscale("log", base=2)
        place.set_yscale("log")
        place.set_xticks(BUDGETS, [str(n) for n in BUDGETS])
        place.minorticks_off()
        place.legend(frameon=False, fontsize=9)
    write(figure, path)


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "images" / "samplers.png")
