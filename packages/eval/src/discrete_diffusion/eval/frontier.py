"""Picture: how many novel molecules there are, against their mean property, over the strength of guidance."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from discrete_diffusion.eval.label_placement import place_labels
from discrete_diffusion.eval.style import (
    CATEGORIES,
    MARKERS,
    MUTED,
    dress,
    legend,
    new_figure,
    reference_lines,
    save,
    say_empty,
)
from discrete_diffusion.eval.summary import confidence_interval


@dataclass(frozen=True)
class FrontierPoint:
    """Outcome at one strength of guidance.

    Attributes:
        gamma: Strength of guidance.
        mean_property: Mean property of the novel molecules, None where there are none.
        novel: Number of novel molecules.
        mean_property_error: Half-width of the error bar of `mean_property`, None for no bar.
        novel_error: Half-width of the error bar of `novel`, None for no bar.
    """

    gamma: float
    mean_property: float | None
    novel: float
    mean_property_error: float | None = None
    novel_error: float | None = None

    @classmethod
    def over_seeds(
        cls, gamma: float, mean_property: Iterable[float | None], novel: Iterable[float], level: float = 0.95
    ) -> "FrontierPoint":
        """Means over seeds with Student's intervals; a seed with no novel molecule has None for a mean property."""
        x, y = confidence_interval(mean_property, level), confidence_interval(novel, level)
        return cls(gamma, x.mean, 0.0 if y.mean is None else y.mean, x.half_width, y.half_width)


def draw_frontier(
    series: Mapping[str, Sequence[FrontierPoint]],
    path: str | Path,
    *,
    property_name: str = "QED",
    generated: int | None = None,
    training_mean: float | None = None,
    training_percentile: float | None = None,
    percentile: float = 90.0,
    title: str | None = None,
    note: str = "",
) -> Path:
    """Draw each method as points joined in order of gamma and labeled by it.

    Points without a mean property cannot be placed and are named below the picture.

    Args:
        series: Points of each method, by its name.
        path: File to write; its suffix decides the format.
        property_name: Name of the property, with its unit if it has one.
        generated: Number of molecules generated for each point, for the label of the y axis.
        training_mean: Mean property of the training data, drawn as a vertical line.
        training_percentile: The training data's percentile, drawn as a vertical line.
        percentile: Which percentile that is.
        title: Title, names what is drawn if not given.
        note: Line below the picture, such as what the error bars are.
    """
    several = len(series) > 1
    figure = new_figure(9.0 if several else 7.6, 4.8)
    axes = figure.add_axes((0.095, 0.175, 0.68 if several else 0.87, 0.645))
    y_label = "novel molecules" + (f" (of {generated:,} generated)" if generated else "")
    title = f"Novel molecules and their mean {property_name}" if title is None else title
    dress(axes, title=title, x_label=f"mean {property_name} of novel molecules", y_label=y_label)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))

    points: list[tuple[float, float]] = []
    owners: list[tuple[str, str]] = []
    segments: list[tuple[tuple[float, float], tuple[float, float]]] = []
    absent: list[str] = []
    for index, (name, given) in enumerate(series.items()):
        color, marker = CATEGORIES[index % len(CATEGORIES)], MARKERS[index % len(MARKERS)]
        line: list[tuple[float, float]] = []
        for point in sorted(given, key=lambda one: one.gamma):
            if point.mean_property is None or math.isnan(point.mean_property):
                absent.append(f"γ = {point.gamma:g}" + (f" ({name})" if several else ""))
                continue
            x, y = point.mean_property, point.novel
            dx, dy = point.mean_property_error or 0.0, point.novel_error or 0.0
            axes.errorbar(x, y, yerr=dy or None, xerr=dx or None, color=color, elinewidth=1.2, capsize=2.5, alpha=0.55)
            line.append((x, y))
            owners.append((color, f"{point.gamma:g}"))
            segments += [((x - dx, y), (x + dx, y)), ((x, y - dy), (x, y + dy))]
        xs, ys = [x for x, _ in line], [y for _, y in line]
        axes.plot(xs, ys, color=color, linewidth=1.6, alpha=0.6, zorder=2.5)
        axes.plot(xs, ys, marker, color=color, markersize=7, markeredgecolor="white", zorder=3, label=name)
        segments += pairwise(line)
        points += line

    axes.margins(x=0.1, y=0.12)
    axes.set_ylim(bottom=0.0)
    if not points:
        say_empty(axes, "no novel molecules")
    lines = []
    if training_mean is not None:
        lines.append((training_mean, "training mean"))
    if training_percentile is not None:
        lines.append((training_percentile, f"training {_ordinal(percentile)} percentile"))
    reference_lines(axes, lines)
    if several:
        legend(axes)
    low, high = axes.get_ylim()
    segments += [((x, low), (x, high)) for x, _ in lines]
    _label_points(axes, points, owners, segments)
    foot = [note] if note else []
    if absent:
        foot.append("no novel molecules at " + ", ".join(absent))
    figure.text(0.095, 0.025, "   ·   ".join(foot), fontsize=8.5, color=MUTED)
    return save(figure, path)


def _label_points(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    owners: Sequence[tuple[str, str]],
    segments: Sequence[tuple[tuple[float, float], tuple[float, float]]],
) -> None:
    """Label points by gamma; consecutive points whose markers overlap share one label."""
    pixels = [tuple(axes.transData.transform(point)) for point in points]
    reach = 6.0 * axes.figure.dpi / 72.0
    groups: list[list[int]] = []
    for index, (color, _) in enumerate(owners):
        first = groups[-1][0] if groups else index
        if groups and owners[first][0] == color and math.dist(pixels[first], pixels[index]) < reach:
            groups[-1].append(index)
        else:
            groups.append([index])
    labels = ["γ = " + ", ".join(owners[index][1] for index in group) for group in groups]
    firsts = [group[0] for group in groups]
    place_labels(axes, [points[i] for i in firsts], labels, [owners[i][0] for i in firsts], segments)


def _ordinal(number: float) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(int(number) % 10, "th") if int(number) % 100 not in (11, 12, 13) else "th"
    return f"{number:g}{ending}"
