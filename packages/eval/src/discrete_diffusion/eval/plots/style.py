"""The look that all pictures share: colors, fonts, axes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import ImageFont

INK = "#1f2430"
MUTED = "#6b7280"
RULE = "#d8dce3"
PAPER = "#ffffff"
ACCENT = "#d55e00"

# Okabe and Ito's palette, told apart with every common color vision; its yellow is too light for lines on white.
CATEGORIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1f2430")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# Light blue to deep purple: monotone in lightness, so that order survives any color vision and gray print.
_SEQUENCE = LinearSegmentedColormap.from_list("sequence", ["#7cc4e8", "#2b8cbe", "#5a54a4", "#7a1f6b", "#3b0a33"])


def ordered_colors(count: int) -> list[tuple[float, float, float, float]]:
    """Colors for `count` ordered values, light for the first and dark for the last."""
    return [_SEQUENCE(0.0 if count < 2 else i / (count - 1)) for i in range(count)]


def series_style(index: int) -> dict[str, Any]:
    """Color, marker and line of the series of this index: no two of the first fourteen look the same."""
    turn, place = divmod(index, len(CATEGORIES))
    marker = MARKERS[(place + 3 * turn) % len(MARKERS)]
    return {"color": CATEGORIES[place], "marker": marker, "linestyle": "-" if turn % 2 == 0 else "--"}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, width and height in inches, drawn by Agg and unknown to pyplot."""
    figure = Figure(figsize=(width, height), dpi=160, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Axes, *, title: str, x_label: str, y_label: str, pad: float = 34.0) -> None:
    """Give axes their labels, a quiet grid, and no box; `pad` points below the title are for `reference_lines`."""
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


def write_message(axes: Axes, message: str) -> None:
    """Give axes without data limits and a sentence instead of it."""
    axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.0))
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
    """A legend to the right of the axes, where it covers nothing."""
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
    """Write the figure in the format of the path's suffix, making its folder."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target)
    return target


def font(size: float, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib ships it, `size` in pixels: the same on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
