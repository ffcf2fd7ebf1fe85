"""Style of all plots: colors, fonts, axes."""

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import ImageFont

Segment = tuple[tuple[float, float], tuple[float, float]]
"""A straight line between two points, in data coordinates."""

INK = "#1f2430"
"""Color of text and of reference points."""
MUTED = "#6b7280"
"""Color of notes and reference lines."""
RULE = "#d8dce3"
"""Color of grids and frames."""
PAPER = "#ffffff"
"""Color of the background."""
ACCENT = "#d55e00"
"""Color of highlights."""

# Palette of Okabe and Ito, distinct with every common color vision, without its yellow, which is too light on white.
CATEGORIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1f2430")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# Light blue to deep purple, monotone in lightness: the order is visible with any color vision and in gray.
_SEQUENCE = LinearSegmentedColormap.from_list("sequence", ["#7cc4e8", "#2b8cbe", "#5a54a4", "#7a1f6b", "#3b0a33"])


def ordered_colors(count: int) -> list[tuple[float, float, float, float]]:
    """Return colors for `count` ordered values, from light to dark."""
    return [_SEQUENCE(0.0 if count < 2 else i / (count - 1)) for i in range(count)]


def series_style(index: int) -> dict[str, Any]:
    """Return color, marker and line style of a series; the first 14 are distinct.

    Args:
        index: Position of the series in the plot, from 0.
    """
    turn, place = divmod(index, len(CATEGORIES))
    marker = MARKERS[(place + 3 * turn) % len(MARKERS)]
    return {"color": CATEGORIES[place], "marker": marker, "linestyle": "-" if turn % 2 == 0 else "--"}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure for the Agg renderer, independent of pyplot.

    Args:
        width: Width in inches.
        height: Height in inches.
    """
    figure = Figure(figsize=(width, height), dpi=160, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Axes, *, title: str, x_label: str, y_label: str, pad: float = 34.0) -> None:
    """Set the title, labels, grid and spines of axes.

    Args:
        axes: Axes to style.
        title: Title above the axes.
        x_label: Label of the x axis.
        y_label: Label of the y axis.
        pad: Space below the title in points; 34 leaves room for the labels of `mark_x`.
    """
    axes.set_title(title, loc="left", fontsize=13, color=INK, fontweight="bold", pad=pad)
    axes.set_xlabel(x_label, fontsize=11, color=INK, labelpad=8)
    axes.set_ylabel(y_label, fontsize=11, color=INK, labelpad=8)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9.5, length=3)
    axes.grid(color=RULE, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)


def mark_x(
    axes: Axes, lines: Mapping[str, float], bands: Mapping[str, tuple[float, float]] = MappingProxyType({})
) -> list[Segment]:
    """Draw vertical lines and bands with their names and values above the axes; return the lines.

    Labels that would overlap are stacked. The limits of x must be final and include the lines.

    Args:
        axes: Axes to draw on.
        lines: Values by name.
        bands: Both ends of ranges by name; an infinite end is the edge of the axes.
    """
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    labels = [(x, f"{name} {x:.3g}") for name, x in lines.items()]
    for x in lines.values():
        axes.axvline(x, color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1.5)
    for name, (start, end) in bands.items():
        axes.axvspan(max(start, left), min(end, right), color=MUTED, alpha=0.14, linewidth=0, zorder=0.5)
        labels.append((max(start, left), f"{name} {format_range(start, end)}"))
    rows: list[float] = []  # where the last label of each row ends, in shares of the width of the axes
    for x, text in sorted(labels):
        label = axes.annotate(
            text,
            (x, 1.0),
            (0, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="bottom",
            fontsize=8.5,
            color=MUTED,
        )
        place = axes.transAxes.inverted().transform(axes.transData.transform((x, low)))[0]
        width = label.get_window_extent().width / axes.get_window_extent().width
        # Labels start at their line, or end there where there is no room to the right.
        start = place if place + width <= 1.02 else place - width
        row = next((row for row, end in enumerate(rows) if end < start), len(rows))
        rows[row:] = [start + width + 0.03, *rows[row + 1 :]]
        label.set(ha="left" if start == place else "right")
        label.set_position((2 if start == place else -2, 4 + 12 * row))
    return [((x, low), (x, high)) for x in lines.values()]


def format_range(start: float, end: float) -> str:
    """Return a range in words, such as "0.5 to 0.6" or "> 0.6"."""
    if math.isinf(start):
        return f"< {end:.3g}"
    return f"> {start:.3g}" if math.isinf(end) else f"{start:.3g} to {end:.3g}"


def mark_y(axes: Axes, lines: Mapping[str, float]) -> list[Segment]:
    """Draw horizontal lines with their names and values at the right end; return the lines and the labels' middles.

    Args:
        axes: Axes to draw on, whose limits are final.
        lines: Values by name.
    """
    low, high = axes.get_xlim()
    segments = []
    for name, y in lines.items():
        axes.axhline(y, color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1.5)
        label = axes.annotate(
            f"{name} {y:.3g}",
            (1.0, y),
            (-2, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            fontsize=8.5,
            color=MUTED,
        )
        box = label.get_window_extent()
        middle = (box.y0 + box.y1) / 2
        ends = axes.transData.inverted().transform([(box.x0, middle), (box.x1, middle)]).tolist()
        segments += [((low, y), (high, y)), (tuple(ends[0]), tuple(ends[1]))]
    return segments


def write_message(axes: Axes, message: str) -> None:
    """Write a message in the middle of axes that have no data."""
    axes.text(
        0.5,
        0.5,
        message,
        transform=axes.transAxes,
        ha="center",
        color=MUTED,
        fontsize=12,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 6},
    )


def add_legend(axes: Axes) -> None:
    """Add a legend to the right of the axes, if they have labeled artists."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(1.01, 1.03),
            frameon=False,
            fontsize=9.5,
            labelcolor=INK,
            labelspacing=0.6,
            handletextpad=0.6,
        )


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure to a file, and make its folder.

    Args:
        figure: Figure to write.
        path: File to write; its suffix decides the format.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target)
    return target


def font(size: float, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return matplotlib's own DejaVu Sans, which is the same on every machine; `size` is in pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
