"""Labels beside points that avoid the points, the lines and each other."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from discrete_diffusion.eval.plots.style import Segment

_ANGLES = np.deg2rad([90, 45, 135, 0, 180, -45, -135, -90, 67, 112, 22, 157, -22, -157, -67, -112])


def place_labels(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    labels: Sequence[str],
    colors: Sequence[str],
    segments: Sequence[Segment],
) -> None:
    """Write each label where it covers least, greedily in the order given.

    Args:
        axes: Axes whose limits are final.
        points: One point for each label, in data coordinates.
        labels: The texts.
        colors: Their colors.
        segments: Lines to keep clear of, as pairs of points in data coordinates.
    """
    if not points:
        return
    # Figures made by `new_figure` have this canvas; only it can measure text before it is drawn.
    canvas = axes.figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    renderer = canvas.get_renderer()
    scale = axes.figure.dpi / 72.0
    centers = axes.transData.transform(np.asarray(points, dtype=float))
    strokes = [axes.transData.transform(np.asarray(pair, dtype=float)) for pair in segments]
    # A line is avoided by avoiding points sampled along it, at the distance of half a letter.
    steps = [max(2, int(np.hypot(*(b - a)) / (3 * scale))) for a, b in strokes]
    ink = [np.linspace(a, b, n) for (a, b), n in zip(strokes, steps, strict=True)]
    ink_points = np.concatenate([*ink, centers])
    frame = axes.get_window_extent(renderer)
    taken: list[tuple[float, float, float, float]] = []
    for center, label, color in zip(centers, labels, colors, strict=True):
        text = axes.annotate(label, center, xycoords="figure pixels", fontsize=9, color=color, ha="center", va="center")
        text.set_fontweight("bold")
        extent = text.get_window_extent(renderer)
        half = np.array([extent.width, extent.height]) / 2 + 1.5 * scale
        best, cost = center, np.inf
        box = (0.0, 0.0, 0.0, 0.0)
        for ring, radius in enumerate((5.0, 10.0, 16.0, 24.0)):
            for rank, angle in enumerate(_ANGLES):
                direction = np.array([np.cos(angle), np.sin(angle)])
                middle = center + direction * (half + radius * scale)
                (left, bottom), (right, top) = middle - half, middle + half
                inside = (np.abs(ink_points - middle) < half).all(axis=1).sum()
                # Covering another label is worse than covering a line, leaving the axes worse than both.
                clashes = sum(left < r and right > x and bottom < t and top > y for x, y, r, t in taken)
                out = left < frame.x0 or right > frame.x1 or bottom < frame.y0 or top > frame.y1
                total = 10.0 * inside + 300.0 * clashes + 1000.0 * out + 4.0 * ring + 0.2 * rank
                if total < cost:
                    best, cost, box = middle, total, (left, bottom, right, top)
        taken.append(box)
        text.set_position(tuple((best - center) / scale))
        text.anncoords = "offset points"
        text.xy = tuple(axes.transData.inverted().transform(center))
        text.xycoords = "data"


def label_gammas(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    gammas: Sequence[float],
    colors: Sequence[str],
    segments: Sequence[Segment],
    *,
    symbol: str = "γ = ",
) -> None:
    """Label points by gamma; consecutive ones of a color whose markers overlap share one label."""
    pixels = [tuple(axes.transData.transform(point)) for point in points]
    reach = 6.0 * axes.figure.dpi / 72.0
    groups: list[list[int]] = []
    for index, color in enumerate(colors):
        first = groups[-1][0] if groups else index
        if groups and colors[first] == color and math.dist(pixels[first], pixels[index]) < reach:
            groups[-1].append(index)
        else:
            groups.append([index])
    labels = [symbol + ", ".join(format_gamma(gammas[index]) for index in group) for group in groups]
    firsts = [group[0] for group in groups]
    place_labels(axes, [points[i] for i in firsts], labels, [colors[i] for i in firsts], segments)


def join_first(absent: Sequence[str], most: int = 4) -> str:
    """The first few of a list, and how many more there are."""
    rest = len(absent) - most
    return ", ".join(absent[:most]) + (f" and {rest} more" if rest > 0 else "")


def format_gamma(gamma: float) -> str:
    """Gamma as it is written."""
    return "∞" if math.isinf(gamma) else f"{gamma:g}"
