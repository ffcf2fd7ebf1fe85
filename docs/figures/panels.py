"""Row of distributions of the world, drawn side by side."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from PIL import Image
from torch import Tensor
from world import RADIUS, centers, in_class, on_islands

from discrete_diffusion.eval import ACCENT, INK, MUTED, RULE, new_figure, save_figure, style_axes

_SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#7cc4e8", "#2b6cb0", "#1f2a6b", "#16103a"])


def show(axes: Axes, distribution: Tensor, title: str, note: str | None = None) -> None:
    """Draw a distribution (16, 16) as shades over the outlines of the data's islands; darker is likelier.

    Below stands `note`, or the shares of the distribution in the target class and on the islands.
    """
    # The square root keeps what is rare visible; one scale for all panels lets shades compare.
    axes.imshow(distribution.T.clamp(max=0.12).sqrt().numpy(), origin="lower", cmap=_SHADES, vmin=0, vmax=0.12**0.5)
    for center in centers().tolist():
        axes.add_patch(Circle(center, RADIUS, fill=False, edgecolor=ACCENT, linewidth=0.9))
    axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold", pad=7)
    note = f"class {in_class(distribution):.2f}  ·  islands {on_islands(distribution):.0%}" if note is None else note
    axes.set_xlabel(note, fontsize=9.5, color=MUTED, loc="left", labelpad=6)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(RULE)


def row(count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with a row of `count` places for distributions."""
    figure = new_figure(2.3 * count, 2.8)
    axes = [figure.add_subplot(1, count, i + 1) for i in range(count)]
    figure.subplots_adjust(left=0.03 / count, right=1 - 0.03 / count, top=0.9, bottom=0.1, wspace=0.06)
    return figure, axes


def plot(axes: Axes, title: str, x_label: str) -> None:
    """Style the first or the last place of a row for lines."""
    style_axes(axes, title="", x_label=x_label, y_label="")
    axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold", pad=7)
    axes.xaxis.label.set_fontsize(9.5)
    left, bottom, width, height = axes.get_position().bounds
    margin = 0.13 * width
    axes.set_position((left + margin, bottom + 0.1, width - 1.25 * margin, height - 0.1))


def draw_row(path: Path, distributions: Sequence[tuple[str, Tensor]]) -> None:
    """Write a row of (title, distribution)."""
    figure, axes = row(len(distributions))
    for place, (title, distribution) in zip(axes, distributions, strict=True):
        show(place, distribution, title)
    write(figure, path)


def write(figure: Figure, path: Path) -> None:
    """Save with a palette of 256 colors, a third of the bytes."""
    Image.open(save_figure(figure, path)).convert("RGB").quantize(256).save(path, optimize=True)
