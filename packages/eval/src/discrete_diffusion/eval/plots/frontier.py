"""Picture: how many novel samples there are, against their mean property, over the strength of guidance."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from discrete_diffusion.eval.metrics.summary import confidence_interval
from discrete_diffusion.eval.plots.label_placement import format_gamma, join_first, label_gammas
from discrete_diffusion.eval.plots.style import (
    INK,
    MUTED,
    add_legend,
    new_figure,
    save_figure,
    series_style,
    style_axes,
    write_message,
)


@dataclass(frozen=True)
class FrontierPoint:
    """Outcome at one strength of guidance.

    Attributes:
        gamma: Strength of guidance.
        mean_property: Mean property of the novel samples, None where there are none.
        novel: Number of novel samples, or their share.
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
        """Means over seeds with Student's intervals; a seed with no novel sample has None for a mean property."""
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
    noun: str = "molecules",
    start: FrontierPoint | None = None,
    share: bool = False,
    x_label: str | None = None,
    percent: bool = False,
) -> Path:
    """Draw each method as points joined in order of gamma and labeled by it.

    Points without a mean property cannot be placed and are named below the picture.

    Args:
        series: Points of each method, by its name.
        path: File to write; its suffix decides the format.
        property_name: Name of the property, with its unit if it has one.
        generated: Number of samples generated for each point, for the label of the y axis.
        training_mean: Mean property of the training data, drawn as a vertical line.
        training_percentile: The training data's percentile, drawn as a vertical line.
        percentile: Which percentile that is.
        title: Title, names what is drawn if not given.
        note: Line below the picture, such as what the error bars are.
        noun: What is generated.
        start: The point without guidance, which every method begins at; without it their own points of gamma 0 do.
        share: Whether `novel` is a share of what was generated.
        x_label: What is on the x axis, the mean property of novel samples if not given.
        percent: Whether that is a share.
    """
    several, many = len(series) > 1, len(series) > 4
    figure = new_figure(10.4 if many else 9.0 if several else 7.6, 6.2 if many else 4.8)
    bottom = 0.84 / figure.get_figheight()
    height = 1 - bottom - 0.864 / figure.get_figheight()
    axes = figure.add_axes((0.095, bottom, 0.66 if many else 0.68 if several else 0.87, height))
    of = f" (of {generated:,} generated)" if generated else ", of those generated" if share else ""
    title = f"Novel {noun} and their mean {property_name}" if title is None else title
    x_label = f"mean {property_name} of novel {noun}" if x_label is None else x_label
    style_axes(axes, title=title, x_label=x_label, y_label=f"novel {noun}{of}")
    if percent:
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if share:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    else:
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))

    origin = None if start is None or start.mean_property is None else (start.mean_property, start.novel)
    points: list[tuple[float, float]] = []
    owners: list[tuple[str, float]] = []
    segments: list[tuple[tuple[float, float], tuple[float, float]]] = []
    absent: list[str] = []
    for index, (name, given) in enumerate(series.items()):
        style = series_style(index)
        line: list[tuple[float, float]] = []
        for point in sorted(given, key=lambda one: one.gamma):
            if point.mean_property is None or math.isnan(point.mean_property):
                absent.append(f"γ = {format_gamma(point.gamma)}" + (f" ({name})" if several else ""))
                continue
            x, y = point.mean_property, point.novel
            dx, dy = point.mean_property_error or 0.0, point.novel_error or 0.0
            alpha = 0.3 if many else 0.55
            axes.errorbar(
                x, y, yerr=dy or None, xerr=dx or None, color=style["color"], elinewidth=1.2, capsize=2.5, alpha=alpha
            )
            line.append((x, y))
            owners.append((style["color"], point.gamma))
            segments += [((x - dx, y), (x + dx, y)), ((x, y - dy), (x, y + dy))]
        whole = [origin, *line] if origin is not None and line else line
        look = {"color": style["color"], "linestyle": style["linestyle"]}
        axes.plot([x for x, _ in whole], [y for _, y in whole], linewidth=1.6, alpha=0.6, zorder=2.5, **look)
        xs, ys = [x for x, _ in line], [y for _, y in line]
        marks = {"color": style["color"], "marker": style["marker"], "linestyle": "none"}
        axes.plot(xs, ys, markersize=7, markeredgecolor="white", zorder=3, label=name, **marks)
        segments += pairwise(whole)
        points += line
    if origin is not None:
        axes.plot(*origin, "*", color=INK, markersize=13, markeredgecolor="white", zorder=3.5, label="without guidance")

    axes.margins(x=0.1, y=0.12)
    axes.set_ylim(bottom=0.0)
    if percent:
        axes.set_xlim(-0.02, 1.02)
    if not points and origin is None:
        write_message(axes, f"no novel {noun}")
    lines = []
    if training_mean is not None:
        lines.append((training_mean, "training mean"))
    if training_percentile is not None:
        lines.append((training_percentile, f"training {_ordinal(percentile)} percentile"))
    reference_lines(axes, lines)
    if several or origin is not None:
        add_legend(axes)
    low, high = axes.get_ylim()
    segments += [((x, low), (x, high)) for x, _ in lines]
    colors, gammas = [color for color, _ in owners], [gamma for _, gamma in owners]
    label_gammas(axes, points, gammas, colors, segments, symbol="" if many else "γ = ")
    foot = [note] if note else []
    if many:
        foot.append("numbers are γ")
    if absent:
        foot.append(f"no novel {noun} at " + join_first(absent))
    figure.text(0.095, 0.12 / figure.get_figheight(), "   ·   ".join(foot), fontsize=8.5, color=MUTED)
    return save_figure(figure, path)


def reference_lines(axes: Axes, lines: Sequence[tuple[float, str]]) -> None:
    """Vertical lines with their labels above the axes: the leftmost label ends at its line, the others begin there.

    The limits of x are widened until the labels fit over the axes. With more than two lines labels may meet.
    """
    if not lines:
        return
    ordered = sorted(lines)
    low, high = axes.get_xlim()
    first, last = ordered[0][0], ordered[-1][0]
    frame = axes.get_window_extent()
    share = 1.45 * axes.figure.dpi / frame.width  # of the width of the axes: room for a label
    if high <= low:
        low, high = first - 0.5, last + 0.5
    for _ in range(40):
        low = min(low, first - (share if len(ordered) > 1 else 0.03) * (high - low))
        high = max(high, last + share * (high - low))
    axes.set_xlim(low, high)
    for index, (x, label) in enumerate(ordered):
        left = index == 0 and len(ordered) > 1
        axes.axvline(x, color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1.5)
        axes.annotate(
            f"{label}\n{x:.3g}",
            (x, 1.0),
            (-3 if left else 3, 4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="right" if left else "left",
            va="bottom",
            fontsize=8.5,
            color=MUTED,
            linespacing=1.15,
        )


def _ordinal(number: float) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(int(number) % 10, "th") if int(number) % 100 not in (11, 12, 13) else "th"
    return f"{number:g}{ending}"
