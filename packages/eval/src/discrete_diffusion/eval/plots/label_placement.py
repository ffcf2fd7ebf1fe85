"""Placement of labels beside points, clear of points, lines and each other."""

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
    """Write each label at the position around its point where it covers least, greedily in order.

    Args:
        axes: Axes whose limits are final.
        points: Point of each label, in data coordinates.
        labels: Texts.
        colors: Color of each label.
        segments: Lines to keep clear of.
    """
    if not points:
        return
    # Figures of `new_figure` have this canvas. It is the one that can measure text before drawing.
    canvas = axes.figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    renderer = canvas.get_renderer()
    scale = axes.figure.dpi / 72.0
    centers = axes.transData.transform(np.asarray(points, dtype=float))
    strokes = [axes.transData.transform(np.asarray(pair, dtype=float)) for pair in segments]
    # Lines are sampled at the distance of half a letter.
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
                # The edge or the corner that is nearest to the point is `radius` away, at every angle.
                middle = center + direction / abs(direction).max() * half + direction * radius * scale
                (left, bottom), (right, top) = middle - half, middle + half
                inside = (np.abs(ink_points - middle) < half).all(axis=1).sum()
                # It is worse to cover a label than a line, and worst to leave the axes.
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
    """Label points by their guidance scale. Consecutive points of a color whose markers overlap share a label.

    Args:
        axes: Axes whose limits are final.
        points: Points in data coordinates.
        gammas: Guidance scale of each point.
        colors: Color of each label.
        segments: Lines to keep clear of.
        symbol: Text before each number.
    """
    pixels = [tuple(axes.transData.transform(point)) for point in points]
    reach = 6.0 * axes.figure.dpi / 72.0
    groups: list[list[int]] = []
    for index, color in enumerate(colors):
        before = groups[-1][-1] if groups else index
        if groups and colors[before] == color and math.dist(pixels[before], pixels[index]) < reach:
            groups[-1].append(index)
        else:
            groups.append([index])
    labels = [symbol + ", ".join(format_gamma(gammas[index]) for index in group) for group in groups]
    firsts = [group[0] for group in groups]
    place_labels(axes, [points[i] for i in firsts], labels, [colors[i] for i in firsts], segments)


def join_first(names: Sequence[str], most: int = 4) -> str:
    """Join the first few names and count the rest."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def format_gamma(gamma: float) -> str:
    """Return a guidance scale as text."""
    return "∞" if math.isinf(gamma) else f"{gamma:g}"
