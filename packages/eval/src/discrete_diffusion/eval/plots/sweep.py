"""Plot of a sweep over the guidance scale: two measured numbers against each other."""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from discrete_diffusion.eval.metrics.summary import ConfidenceInterval, confidence_interval
from discrete_diffusion.eval.plots.label_placement import format_gamma, join_first, label_gammas
from discrete_diffusion.eval.plots.style import (
    INK,
    MUTED,
    RULE,
    Segment,
    add_legend,
    mark_x,
    mark_y,
    new_figure,
    save_figure,
    series_style,
    style_axes,
    write_message,
)

_MOST_LABELS = 24  # with more points than that, only the first and the last of each group are labeled


@dataclass(frozen=True)
class SweepPoint:
    """Outcome of one group at one guidance scale.

    Args:
        gamma: Guidance scale.
        group: Name of the group, such as the guidance method.
        x: Number on the x axis. A mean of None or NaN leaves the point out of the plot.
        y: Number on the y axis.
    """

    gamma: float
    group: str
    x: ConfidenceInterval
    y: ConfidenceInterval

    @classmethod
    def over_seeds(
        cls, gamma: float, group: str, x: Iterable[float | None], y: Iterable[float | None], level: float = 0.95
    ) -> "SweepPoint":
        """Return the point of means over seeds, with Student's intervals where there are several seeds.

        Args:
            gamma: Guidance scale.
            group: Name of the group.
            x: Number on the x axis for each seed; None and NaN are left out.
            y: Number on the y axis for each seed.
            level: Level of the intervals.

        Raises:
            ValueError: If `level` is not inside (0, 1).
        """
        return cls(gamma, group, confidence_interval(x, level), confidence_interval(y, level))


@dataclass(frozen=True)
class SweepAxis:
    """Description of one axis of a sweep plot.

    Args:
        label: Name of the number, with its unit.
        kind: "share" for numbers in [0, 1], shown in percent; "count" for integers >= 0.
        log: Whether the axis is logarithmic. Points at zero or below are then left out.
        better: Direction in which results improve, added to the label.
        lines: Values marked by a line across the plot, by name, such as the mean of the training data.
        bands: Ranges of x marked by a band, by name, such as a requested range; either end may be infinite.

    Raises:
        ValueError: If a share or a count is to be on a logarithmic axis, a line there is not positive, or a band has no
            width or no finite end.
    """

    label: str
    kind: Literal["number", "share", "count"] = "number"
    log: bool = False
    better: Literal["higher", "lower"] | None = None
    lines: Mapping[str, float] = field(default_factory=dict)
    bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.log and self.kind != "number":
            raise ValueError(f"Expected a linear axis for a {self.kind}, got `log` = True.")
        if self.log and min(self.lines.values(), default=1.0) <= 0.0:
            raise ValueError(f"Expected positive `lines` on a logarithmic axis, got {dict(self.lines)}.")
        if not all(low < high and math.isfinite(low) + math.isfinite(high) for low, high in self.bands.values()):
            raise ValueError(f"Expected `bands` from a lower to a higher end, got {dict(self.bands)}.")


def draw_sweep(
    points: Iterable[SweepPoint],
    path: str | Path,
    *,
    x: SweepAxis,
    y: SweepAxis,
    title: str,
    start: SweepPoint | None = None,
    reference: SweepPoint | None = None,
    note: str = "",
    absent: str = "not measured",
) -> Path:
    """Draw the points of each group in one color, labeled by the guidance scale, with their intervals as bars.

    A line joins the points of a group in order of gamma where they show a trend: from three points on, or from two
    with intervals. The axes fit the points; an interval that is much wider than their spread is cut at the edge. Points
    without a place on the axes are listed below the plot.

    Args:
        points: Points of all groups. Groups keep the order of their first points.
        path: File to write; its suffix decides the format.
        x: Description of the x axis.
        y: Description of the y axis.
        title: Title.
        start: Point without guidance, at which the lines of all groups start. Its group is its name in the legend.
        reference: Point to compare with, such as the training data. Its group is its name in the legend.
        note: Line below the plot, such as the meaning of the bars.
        absent: Reason why points have no place, such as "no novel molecules".
    """
    points = list(points)
    groups: dict[str, list[SweepPoint]] = {one.group: [] for one in points}
    missing: list[SweepPoint] = []
    for one in sorted(points, key=lambda point: point.gamma):
        (groups[one.group] if _has_place(one, x, y) else missing).append(one)
    landmarks = [
        (one, marker, size)
        for one, marker, size in ((start, "*", 13), (reference, "X", 9))
        if one is not None and _has_place(one, x, y)
    ]
    origin = [one for one, _, _ in landmarks if one is start]
    drawn = [*(one for members in groups.values() for one in members), *(one for one, _, _ in landmarks)]
    x_limits, y_limits = _limits(x, [one.x for one in drawn]), _limits(y, [one.y for one in drawn])
    several, many, few_points = len(groups) > 1, len(groups) > 4, len(drawn) <= _MOST_LABELS

    foot = [note] if note else []
    if several and drawn:
        foot.append("numbers are γ" if few_points else "numbers are γ, at both ends of each group")
    if any(_is_cut(x, one.x, x_limits) or _is_cut(y, one.y, y_limits) for one in drawn):
        foot.append("bars that reach the edge extend beyond it")
    if missing:
        names = [f"γ = {format_gamma(one.gamma)}" + (f" ({one.group})" if several else "") for one in missing]
        foot.append(f"{absent} at {join_first(names)}")
    figure, axes = _new_axes(x, y, title, foot, legend=several or bool(landmarks), tall=many)
    axes.set(xlim=x_limits, ylim=y_limits)

    segments = [*mark_x(axes, x.lines, x.bands), *mark_y(axes, y.lines)]
    labeled = []
    for index, (name, members) in enumerate(groups.items()):
        style = series_style(index)
        color = style["color"]
        line = [_place(one) for one in (*origin, *members)] if members else []
        if len(line) > 2 or (len(line) == 2 and all(_has_interval(one) for one in members)):
            xs, ys = zip(*line, strict=True)
            axes.plot(
                xs, ys, color=color, linestyle=style["linestyle"], linewidth=1.6, alpha=0.6, zorder=2.5, clip_on=False
            )
            segments += pairwise(line)
        for one in members:
            segments += _draw_bars(axes, one, x, y, color, 0.3 if many else 0.55)
        _draw_markers(axes, members, name, color, style["marker"], 7)
        labeled += [(one, color) for one in (members if few_points else [*members[:1], *members[1:][-1:]])]
    for one, marker, size in landmarks:
        segments += [*_draw_bars(axes, one, x, y, INK, 0.55), (_place(one), _place(one))]
        _draw_markers(axes, [one], one.group, INK, marker, size)
    if several or landmarks:
        add_legend(axes)
    if not drawn:
        write_message(axes, absent)
    label_gammas(
        axes,
        [_place(one) for one, _ in labeled],
        [one.gamma for one, _ in labeled],
        [color for _, color in labeled],
        segments,
        symbol="" if several else "γ = ",
    )
    return save_figure(figure, path)


def _place(point: SweepPoint) -> tuple[float, float]:
    """Return both means, NaN where one is missing."""
    x, y = (math.nan if number.mean is None else number.mean for number in (point.x, point.y))
    return x, y


def _has_place(point: SweepPoint, x: SweepAxis, y: SweepAxis) -> bool:
    pairs = zip(_place(point), (x, y), strict=True)
    return all(math.isfinite(mean) and (mean > 0.0 or not axis.log) for mean, axis in pairs)


def _has_interval(point: SweepPoint) -> bool:
    return bool(point.x.half_width or point.y.half_width)


def _ends(axis: SweepAxis, number: ConfidenceInterval) -> tuple[float, float]:
    """Return the ends of an interval as far as values are possible there, NaN where there is none."""
    if number.low is None or number.high is None or not number.half_width:
        return math.nan, math.nan
    if axis.kind == "number":
        return number.low, number.high
    return max(number.low, 0.0), min(number.high, 1.0) if axis.kind == "share" else number.high


def _is_cut(axis: SweepAxis, number: ConfidenceInterval, limits: tuple[float, float]) -> bool:
    low, high = _ends(axis, number)
    return low < limits[0] or high > limits[1]


def _limits(axis: SweepAxis, numbers: Sequence[ConfidenceInterval]) -> tuple[float, float]:
    """Return the ends of an axis: means and lines, and of the intervals as much as is no wider than these spread."""
    known = [one.mean for one in numbers if one.mean is not None] + [
        *axis.lines.values(),
        *(end for band in axis.bands.values() for end in band if math.isfinite(end)),
    ]
    bars = [end for one in numbers for end in _ends(axis, one) if math.isfinite(end)]
    if axis.kind == "count":
        known += [0.0, 1.0]
    if not known:
        return (0.1, 10.0) if axis.log else (0.0, 1.0)
    if axis.log:
        known, bars = [math.log(one) for one in known], [math.log(one) for one in bars if one > 0.0]
    low, high = min(known), max(known)
    least = 0.7 if axis.log else 0.05 if axis.kind == "share" else 0.1 * max(abs(low), abs(high)) or 1.0
    spread = max(high - low, least)
    low, high = max(min([low, *bars]), low - spread), min(max([high, *bars]), high + spread)
    margin = max(0.08 * (high - low), (spread - (high - low)) / 2)
    low, high = low - margin, high + margin
    if axis.log:
        return math.exp(low), math.exp(high)
    if axis.kind == "count":
        return 0.0, high
    return (max(low, 0.0), min(high, 1.0)) if axis.kind == "share" else (low, high)


def _new_axes(
    x: SweepAxis, y: SweepAxis, title: str, foot: Sequence[str], *, legend: bool, tall: bool
) -> tuple[Figure, Axes]:
    """Return a new figure with empty axes, and the lines of `foot` below."""
    width, height = 10.4 if legend else 7.6, 6.2 if tall else 5.0
    lines = textwrap.wrap("   ·   ".join(foot), int(14 * width))
    left, bottom, above = 0.95, 0.72 + 0.16 * len(lines), 0.82 if x.lines or x.bands else 0.52
    figure = new_figure(width, height)
    figure.text(left / width, 0.12 / height, "\n".join(lines), fontsize=8.5, color=MUTED, va="bottom")
    across = 6.8 if legend else 6.4
    axes = figure.add_axes((left / width, bottom / height, across / width, (height - bottom - above) / height))
    # An arrow to the right points up along the y axis, whose label is turned.
    arrows = {None: "", "higher": "  (better →)", "lower": "  (← better)"}
    x_label, y_label = x.label + arrows[x.better], y.label + arrows[y.better]
    style_axes(axes, title=title, x_label=x_label, y_label=y_label, pad=34.0 if x.lines or x.bands else 13.0)
    long = axes.yaxis.label.get_window_extent().height / axes.get_window_extent().height
    axes.yaxis.label.set_fontsize(11.0 / max(long, 1.0))
    axes.set(xscale="log" if x.log else "linear", yscale="log" if y.log else "linear")
    _set_ticks(axes.xaxis, x)
    _set_ticks(axes.yaxis, y)
    return figure, axes


def _set_ticks(side: Axis, axis: SweepAxis) -> None:
    if axis.log:
        side.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        side.set_minor_formatter(NullFormatter())
        side.grid(which="minor", color=RULE, linewidth=0.4, alpha=0.5)
    elif axis.kind == "share":
        side.set_major_formatter(PercentFormatter(1.0))
    elif axis.kind == "count":
        side.set_major_locator(MaxNLocator(nbins=7, integer=True))
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _draw_bars(axes: Axes, point: SweepPoint, x: SweepAxis, y: SweepAxis, color: str, alpha: float) -> list[Segment]:
    """Draw the intervals of a point; return what is visible of them."""
    (left, right), (low, high), place = _ends(x, point.x), _ends(y, point.y), _place(point)
    axes.errorbar(
        *place,
        xerr=None if math.isnan(left) else [[place[0] - left], [right - place[0]]],
        yerr=None if math.isnan(low) else [[place[1] - low], [high - place[1]]],
        color=color,
        elinewidth=1.2,
        capsize=2.5,
        alpha=alpha,
        linestyle="none",
    )
    left, right = np.clip((left, right), *axes.get_xlim()).tolist()
    low, high = np.clip((low, high), *axes.get_ylim()).tolist()
    bars = ((left, place[1]), (right, place[1])), ((place[0], low), (place[0], high))
    return [bar for bar in bars if not math.isnan(sum(bar[0]))]


def _draw_markers(axes: Axes, points: Sequence[SweepPoint], name: str, color: str, marker: str, size: float) -> None:
    xs, ys = [_place(one)[0] for one in points], [_place(one)[1] for one in points]
    # Not clipped, so that a marker on the edge of the axes is whole.
    axes.plot(
        xs, ys, color=color, marker=marker, linestyle="none", markersize=size, markeredgecolor="white", zorder=3,
        label=name, clip_on=False,
    )  # fmt: skip
