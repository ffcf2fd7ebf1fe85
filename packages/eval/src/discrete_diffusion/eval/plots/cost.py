"""Plot of numbers against their cost, a line for each method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from discrete_diffusion.eval.metrics.summary import ConfidenceInterval
from discrete_diffusion.eval.plots.label_placement import place_labels
from discrete_diffusion.eval.plots.style import (
    MUTED,
    Segment,
    mark_y,
    new_figure,
    save_figure,
    series_style,
    style_axes,
    write_message,
)

CostLine = Sequence[tuple[float, ConfidenceInterval]]
"""Points of a method: its cost, > 0, and the number that it buys."""


@dataclass(frozen=True)
class CostPanel:
    """One panel of a plot against cost.

    Args:
        title: Title.
        label: Name of the number on the y axis, with its unit.
        lines: Points of each method, by its name. Points whose mean is None are left out.
        share: Whether the numbers are shares, shown in percent.
        marks: Values marked by a line across the panel, by name, such as that of the training data.
    """

    title: str
    label: str
    lines: Mapping[str, CostLine]
    share: bool = False
    marks: Mapping[str, float] = field(default_factory=dict)


def draw_cost_panels(
    panels: Sequence[CostPanel], path: str | Path, *, x_label: str, columns: int = 1, note: str = ""
) -> Path:
    """Draw panels with one line for each method, each named beside its line; cost is on a logarithmic axis.

    A method has the same color and marker in every panel. Intervals are drawn as bars.

    Args:
        panels: Panels, row by row.
        path: File to write; its suffix decides the format.
        x_label: Name of the cost.
        columns: Panels in a row.
        note: Line below the plot, such as the meaning of the bars.

    Raises:
        ValueError: If there is no panel.
    """
    if not panels:
        raise ValueError("Expected at least one panel, got none.")
    rows = -(-len(panels) // columns)
    wide, tall, left, below, above = 8.2, 5.4, 0.95, 0.8, 0.55
    width, height = wide * columns, tall * rows + 0.25
    figure = new_figure(width, height)
    figure.text(left / width, 0.1 / height, note, fontsize=8.5, color=MUTED, va="bottom")
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    costs = [cost for panel in panels for line in panel.lines.values() for cost, _ in line]
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        bottom = height - tall * (row + 1) + below - 0.1
        size = ((wide - left - 0.3) / width, (tall - below - above) / height)
        axes = figure.add_axes(((left + wide * column) / width, bottom / height, *size))
        style_axes(axes, title=panel.title, x_label=x_label, y_label=panel.label, pad=10)
        _draw_panel(axes, panel, names, costs)
    return save_figure(figure, path)


def _draw_panel(axes: Axes, panel: CostPanel, names: Sequence[str], costs: Sequence[float]) -> None:
    placed: dict[str, list[tuple[float, float, float]]] = {}
    for name in names:
        line = [
            (cost, one.mean, one.half_width or 0.0) for cost, one in panel.lines.get(name, ()) if one.mean is not None
        ]
        if line:
            placed[name] = sorted(line)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if panel.share:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if not placed:
        write_message(axes, "not measured")
        return
    values = [value for line in placed.values() for _, value, _ in line] + list(panel.marks.values())
    low, high = min(values), max(values)
    margin = 0.08 * (high - low or abs(high) or 1.0)
    # Names stand beside the last points: there is room for them on the right.
    axes.set(xlim=(min(costs) / 1.25, max(costs) * 1.9), ylim=(low - margin, high + margin))
    segments: list[Segment] = mark_y(axes, panel.marks)
    ends, labels, colors = [], [], []
    for name, line in placed.items():
        style = series_style(names.index(name))
        points = [(cost, value) for cost, value, _ in line]
        bars = [half for _, _, half in line]
        axes.errorbar(
            [cost for cost, _ in points],
            [value for _, value in points],
            yerr=bars if any(bars) else None,
            color=style["color"],
            marker=style["marker"],
            linestyle=style["linestyle"],
            linewidth=1.6,
            markersize=6.5,
            markeredgecolor="white",
            elinewidth=1.0,
            capsize=2.0,
        )
        segments += pairwise(points) if len(points) > 1 else [(points[0], points[0])]
        ends.append(points[-1])
        labels.append(name)
        colors.append(style["color"])
    place_labels(axes, ends, labels, colors, segments)
