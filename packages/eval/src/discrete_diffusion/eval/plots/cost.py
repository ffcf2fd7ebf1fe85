"""Picture: how far each method of guidance gets, against what it costs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from discrete_diffusion.eval.plots.label_placement import format_gamma, join_first, label_gammas
from discrete_diffusion.eval.plots.style import (
    INK,
    MUTED,
    RULE,
    add_legend,
    new_figure,
    save_figure,
    series_style,
    style_axes,
    write_message,
)


@dataclass(frozen=True)
class CostPoint:
    """Outcome at one strength of guidance.

    Attributes:
        gamma: Strength of guidance.
        cost: What a fixed number of samples costs, such as seconds; > 0.
        mean_property: Mean property of the novel samples, None where there are none.
        mean_property_error: Half-width of the error bar of `mean_property`, None for no bar.
    """

    gamma: float
    cost: float
    mean_property: float | None
    mean_property_error: float | None = None


def draw_cost(
    series: Mapping[str, Sequence[CostPoint]],
    path: str | Path,
    *,
    cost_name: str = "seconds",
    property_name: str = "QED",
    noun: str = "molecules",
    training_mean: float | None = None,
    start: CostPoint | None = None,
    title: str | None = None,
    note: str = "",
) -> Path:
    """Draw the mean property of each method's novel samples against its cost, on a logarithmic axis.

    Points of a method are joined in order of gamma. Those without a mean property are named below the picture.

    Args:
        series: Points of each method, by its name.
        path: File to write; its suffix decides the format.
        cost_name: What cost is, with its unit.
        property_name: Name of the property, with its unit if it has one.
        noun: What is generated.
        training_mean: Mean property of the training data, drawn as a horizontal line.
        start: The point without guidance.
        title: Title, names what is drawn if not given.
        note: Line below the picture.
    """
    figure = new_figure(10.4, 5.6)
    axes = figure.add_axes((0.095, 0.155, 0.66, 0.745))
    title = f"Mean {property_name} of novel {noun} and what it costs" if title is None else title
    style_axes(axes, title=title, x_label=cost_name, y_label=f"mean {property_name} of novel {noun}", pad=14)
    axes.set_xscale("log")
    points: list[tuple[float, float]] = []
    gammas: list[float] = []
    colors: list[str] = []
    segments: list[tuple[tuple[float, float], tuple[float, float]]] = []
    absent: list[str] = []
    for index, (name, given) in enumerate(series.items()):
        style = series_style(index)
        line: list[tuple[float, float]] = []
        for point in sorted(given, key=lambda one: one.gamma):
            if point.mean_property is None or math.isnan(point.mean_property):
                absent.append(f"γ = {format_gamma(point.gamma)} ({name})")
                continue
            x, y, dy = point.cost, point.mean_property, point.mean_property_error or 0.0
            axes.errorbar(x, y, yerr=dy or None, color=style["color"], elinewidth=1.2, capsize=2.5, alpha=0.3)
            line.append((x, y))
            gammas.append(point.gamma)
            colors.append(style["color"])
            segments.append(((x, y - dy), (x, y + dy)))
        xs, ys = [x for x, _ in line], [y for _, y in line]
        look = {"color": style["color"], "linestyle": style["linestyle"]}
        axes.plot(xs, ys, linewidth=1.6, alpha=0.6, zorder=2.5, **look)
        marks = {"color": style["color"], "marker": style["marker"], "linestyle": "none"}
        axes.plot(xs, ys, markersize=7, markeredgecolor="white", zorder=3, label=name, **marks)
        segments += pairwise(line)
        points += line
    if start is not None and start.mean_property is not None:
        where = (start.cost, start.mean_property)
        axes.plot(*where, "*", color=INK, markersize=13, markeredgecolor="white", zorder=3.5, label="without guidance")
        segments.append((where, where))
    axes.margins(x=0.12, y=0.12)
    axes.grid(which="minor", axis="x", color=RULE, linewidth=0.4, alpha=0.5)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if training_mean is not None:
        axes.axhline(training_mean, color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1.5)
        axes.annotate(
            f"training mean {training_mean:.3g}",
            (0.0, training_mean),
            (4, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            fontsize=8.5,
            color=MUTED,
        )
    if not points and start is None:
        axes.set_xscale("linear")
        write_message(axes, f"no novel {noun}")
    add_legend(axes)
    label_gammas(axes, points, gammas, colors, segments, symbol="")
    foot = [note] if note else []
    foot.append("numbers are γ")
    if absent:
        foot.append(f"no novel {noun} at " + join_first(absent))
    figure.text(0.095, 0.022, "   ·   ".join(foot), fontsize=8.5, color=MUTED)
    return save_figure(figure, path)
