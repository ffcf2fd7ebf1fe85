"""Pictures of a sweep."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.datasets import decode
from discrete_diffusion.eval import (
    SweepAxis,
    SweepPoint,
    draw_denoising,
    draw_distribution,
    draw_particle_weights,
)
from discrete_diffusion.eval import draw_sweep as draw
from discrete_diffusion.evaluator.point import Point
from discrete_diffusion.guidance import State

if TYPE_CHECKING:
    from discrete_diffusion.evaluator.domains.domain import Domain, Run
    from discrete_diffusion.evaluator.generation import ParticleWeights

Value = Callable[["Mapping[str, Any]"], float | None]
"""Number of a row of results.csv."""

ENOUGH = 24
PER = 1024  # samples for which costs are reported


def choose(runs: "Sequence[Run]", domain: "Domain", gamma: float | None, *, by_property: bool = True) -> Point:
    """Return the condition to show: that of `gamma`, or the one that steers farthest.

    Steered conditions come before the unguided one. Of them, it is the one whose novel samples' mean property, over
    all seeds, is farthest from the training data's, among those with at least 24 novel samples a seed; without such,
    where samplers are compared, or without `by_property`, the one with the most novel samples.

    Raises:
        ValueError: if no run has this gamma.
    """
    shown: dict[Point, list[Run]] = {}
    for run in runs:
        if not run.condition.data_labels and gamma in (None, run.condition.gamma):
            shown.setdefault(run.condition, []).append(run)
    if not shown:
        raise ValueError(f"Expected `pictures.gamma` to be one of `gammas`, got {gamma}.")

    def rank(condition: Point) -> tuple[bool, bool, float]:
        steered = bool(condition.gamma)
        counts = [len(run.outcome.novel) for run in shown[condition]]
        values = [value for run in shown[condition] for value in run.outcome.values]
        center = domain.training["mean"]
        if condition.sampler or not by_property or min(counts) < ENOUGH or center is None:
            return steered, False, sum(counts)
        return steered, True, abs(sum(values) / len(values) - center)

    return max(shown, key=rank)


def draw_sweep(
    runs: "Sequence[Run]",
    rows: "Sequence[Mapping[str, Any]]",
    domain: "Domain",
    directory: Path,
    requested: tuple[float, float] | None = None,
) -> list[Path]:
    """Draw the novel samples of every guidance against the property and the accuracy, and the costs of several methods.

    Args:
        runs: All runs.
        rows: Their rows of results.csv.
        domain: Domain of the samples.
        directory: Folder of the pictures.
        requested: Both ends of the requested range of the property; those of a requested number are equal.
    """
    series: dict[str, dict[float, list[Mapping[str, Any]]]] = {}
    unguided = []
    for run, row in zip(runs, rows, strict=True):
        if run.condition.gamma is not None:
            series.setdefault(run.condition.guidance, {}).setdefault(run.condition.gamma, []).append(row)
        elif not run.condition.data_labels:
            unguided.append(row)
    if not series:
        return []
    name, noun = pretty(domain.property_name), domain.noun
    seeds = len({run.seed for run in runs})
    bars = f"bars: 95 % confidence intervals over {seeds} seeds" if seeds > 1 else "one seed"
    counts = {int(row["generated"]) for run, row in zip(runs, rows, strict=True) if not run.condition.data_labels}
    share = len(counts) > 1

    def sweep(path: str, title: str, x: SweepAxis, y: SweepAxis, x_of: Value, y_of: Value) -> Path:
        def point(group: str, gamma: float, some: "Sequence[Mapping[str, Any]]") -> SweepPoint:
            return SweepPoint.over_seeds(gamma, group, map(x_of, some), map(y_of, some))

        points = [point(group, gamma, some) for group, gammas in series.items() for gamma, some in gammas.items()]
        start = point("no guidance", 0.0, unguided) if unguided else None
        absent = f"no novel {noun}"
        return draw(points, directory / path, x=x, y=y, title=title, start=start, note=bars, absent=absent)

    novel_axis = SweepAxis(
        f"share of novel {noun}" if share else f"novel {noun} of {counts.pop():,}", "share" if share else "count"
    )

    def novel(row: "Mapping[str, Any]") -> float:
        return row["novel"] / (row["generated"] if share else 1)

    mean, p90 = domain.training["mean"], domain.training["p90"]
    single = requested[0] if requested is not None and requested[0] == requested[1] else None
    marks = {"training mean": mean, "training 90th percentile": p90, "requested": single}
    property_axis = SweepAxis(
        f"mean {name} of novel {noun}",
        lines={key: value for key, value in marks.items() if value is not None},
        bands={} if requested is None or single is not None else {"requested": requested},
    )
    title = f"Novel {noun} against their mean {name}"
    pictures = [sweep("frontier.png", title, property_axis, novel_axis, lambda row: row["novel_property_mean"], novel)]
    if all(row.get("accuracy") is not None for points in series.values() for group in points.values() for row in group):
        unguided = [row for row in unguided if row.get("accuracy") is not None]
        accuracy_axis = SweepAxis(f"{noun} of the requested class, by the judge", "share", better="higher")
        title = f"Novel {noun} against accuracy"
        pictures.append(sweep("accuracy.png", title, accuracy_axis, novel_axis, lambda row: row["accuracy"], novel))
    if len(series) == 1:
        return pictures
    cost_axis = SweepAxis(f"seconds per {PER:,} samples", log=True, better="lower")
    gain_axis = SweepAxis(property_axis.label, lines={} if mean is None else {"training mean": mean})
    title = f"Mean {name} against cost"
    cost = sweep("cost.png", title, cost_axis, gain_axis, _cost, lambda row: row["novel_property_mean"])
    return [*pictures, cost]


def draw_weights(weights: "Mapping[Point, Sequence[ParticleWeights]]", path: Path) -> Path:
    """Draw the particles of the first seed of each condition with particles."""
    several = len({condition.guidance for condition in weights}) > 1
    series = {}
    for condition in sorted(weights, key=lambda one: (one.guidance, one.gamma)):
        first, *between, last = weights[condition]
        name = f"{condition.guidance + ', ' if several else ''}γ = {condition.gamma:g}"
        # Nothing is resampled before the first step, nor when the samples are drawn.
        series[name] = [
            (first.t, first.ess_share, math.nan),
            *((one.t, one.ess_share, one.resampled_share) for one in between),
            (last.t, last.ess_share, math.nan),
        ]
    return draw_particle_weights(series, path, title="Particles on their way from noise to data")


def draw_novel_distribution(
    runs: "Sequence[Run]",
    chosen: Point,
    training: Sequence[float],
    directory: Path,
    *,
    property_name: str,
    noun: str,
    threshold: float | None = None,
) -> Path:
    """Draw the property of novel samples of all seeds, at each scale of the chosen guidance, over that of the data."""
    values: dict[float, list[float]] = {}
    for run in runs:
        if not run.condition.data_labels and (run.condition.gamma is None or run.condition.guidance == chosen.guidance):
            values.setdefault(run.condition.gamma or 0.0, []).extend(run.outcome.values)
    name = pretty(property_name)
    title = f"{name} of novel {noun}" + (f", {chosen.guidance}" if chosen.row else "")
    return draw_distribution(
        training,
        values,
        directory / "distribution.png",
        property_name=name,
        threshold=threshold,
        threshold_label="between the classes",
        title=title[:1].upper() + title[1:],
    )


def drawn_positions(states: Sequence[State], checkpoint: Checkpoint) -> list[int]:
    """Return the number of positions that hold a token at each step: fewer than all on the way from left to right."""
    length = states[0].x.shape[1]
    causal = bool(checkpoint.config["model"].get("causal"))
    return [round((1 - state.t) * length) if causal else length for state in states]


def draw_trajectory(
    states: Sequence[State], path: Path, checkpoint: Checkpoint, illustrate: Callable[..., Any] | None, title: str
) -> Path:
    """Draw samples from noise to data, step by step."""
    tokenizer: Any = checkpoint.tokenizer
    steps = [
        [tokenizer.convert_ids_to_tokens(row) for row in state.x[:, :count].tolist()]
        for state, count in zip(states, drawn_positions(states, checkpoint), strict=True)
    ]

    def text(tokens: Sequence[str]) -> str:
        return decode(tokenizer, torch.tensor([tokenizer.convert_tokens_to_ids(list(tokens))]))[0]

    # With noise of any token, the mask is a token like any other.
    commonest = next((token for token, _ in Counter(chain.from_iterable(steps[0])).most_common(1)), None)
    return draw_denoising(
        list(zip(*steps, strict=True)),
        path,
        times=[state.t for state in states],
        special=set(tokenizer.all_special_tokens) - ({commonest} & {tokenizer.mask_token}),
        mask=commonest if commonest == tokenizer.mask_token else None,
        text=text,
        illustrate=illustrate,
        title=title,
    )


def sheet_title(run: "Run", noun: str, count: int) -> str:
    """Return the title of a sheet of the first `count` novel samples of a run."""
    every = len(run.outcome.novel)
    which = f"The first {count} of {every:,} novel" if count < every else f"All {count} novel"
    which = {0: "No novel", 1: "The only novel"}.get(every, which)
    return f"{which} {noun.removesuffix('s') if every == 1 else noun} of seed {run.seed} ({run.condition.title()})"


def pretty(name: str) -> str:
    """Return the name of a property for a picture."""
    return "QED" if name == "qed" else name.replace("_", " ")


def _cost(row: "Mapping[str, Any]") -> float:
    """Return the seconds of `PER` samples, at least a millisecond, so that a logarithm exists."""
    return max(row["seconds"] * PER / row["generated"], 1e-3)
