"""Picture: generative perplexity of text against its entropy, over the strength of guidance."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from discrete_diffusion.eval.metrics.summary import confidence_interval
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
class TextPoint:
    """Outcome at one strength of guidance.

    Attributes:
        gamma: Strength of guidance.
        entropy: Mean unigram entropy of the samples in nats, None where there are none.
        perplexity: Their generative perplexity, None where there are none.
        entropy_error: Half-width of the error bar of `entropy`, None for no bar.
        perplexity_error: Half-width of the error bar of `perplexity`, None for no bar.
    """

    gamma: float
    entropy: float | None
    perplexity: float | None
    entropy_error: float | None = None
    perplexity_error: float | None = None

    @classmethod
    def over_seeds(
        cls, gamma: float, entropy: Iterable[float | None], perplexity: Iterable[float | None], level: float = 0.95
    ) -> "TextPoint":
        """Means over seeds with Student's intervals."""
        x, y = confidence_interval(entropy, level), confidence_interval(perplexity, level)
        return cls(gamma, x.mean, y.mean, x.half_width, y.half_width)


def draw_text_frontier(
    series: Mapping[str, Sequence[TextPoint]],
    path: str | Path,
    *,
    model_name: str = "a language model",
    start: TextPoint | None = None,
    training: TextPoint | None = None,
    title: str = "Generative perplexity of the samples and their entropy",
    note: str = "",
) -> Path:
    """Draw each method as points joined in order of gamma and labeled by it; perplexity on a logarithmic axis.

    Lower is better at equal entropy only: text that repeats itself is to the left, and likely. Points without both
    numbers cannot be placed and are named below the picture.

    Args:
        series: Points of each method, by its name.
        path: File to write; its suffix decides the format.
        model_name: Which language model measured the perplexity.
        start: The point without guidance, which every method begins at.
        training: What the training data themselves have.
        title: Title.
        note: Line below the picture, such as what the error bars are.
    """
    figure = new_figure(9.6, 5.4)
    axes = figure.add_axes((0.095, 0.16, 0.66, 0.74))
    style_axes(axes, title=title, x_label="unigram entropy, nats", y_label=f"perplexity under {model_name}", pad=14)
    axes.set_yscale("log")
    points: list[tuple[float, float]] = []
    gammas: list[float] = []
    colors: list[str] = []
    segments: list[tuple[tuple[float, float], tuple[float, float]]] = []
    absent: list[str] = []
    origin = _place(start)
    for index, (name, given) in enumerate(series.items()):
        style = series_style(index)
        line: list[tuple[float, float]] = []
        for point in sorted(given, key=lambda one: one.gamma):
            place = _place(point)
            if place is None:
                absent.append(f"γ = {format_gamma(point.gamma)}" + (f" ({name})" if len(series) > 1 else ""))
                continue
            (x, y), dx, dy = place, point.entropy_error or 0.0, point.perplexity_error or 0.0
            low = min(dy, 0.9 * y)  # no bar reaches zero on a logarithmic axis
            axes.errorbar(
                x,
                y,
                xerr=dx or None,
                yerr=[[low], [dy]] if dy else None,
                color=style["color"],
                elinewidth=1.2,
                capsize=2.5,
                alpha=0.4,
            )
            line.append(place)
            gammas.append(point.gamma)
            colors.append(style["color"])
            segments += [((x - dx, y), (x + dx, y)), ((x, y - low), (x, y + dy))]
        whole = [origin, *line] if origin is not None and line else line
        look = {"color": style["color"], "linestyle": style["linestyle"]}
        axes.plot([x for x, _ in whole], [y for _, y in whole], linewidth=1.6, alpha=0.6, zorder=2.5, **look)
        xs, ys = [x for x, _ in line], [y for _, y in line]
        axes.plot(xs, ys, **style, linewidth=0, markersize=7, markeredgecolor="white", zorder=3, label=name)
        segments += pairwise(whole)
        points += line
    for marker, size, place, name in (
        ("*", 13, origin, "without guidance"),
        ("X", 9, _place(training), "training data"),
    ):
        if place is not None:
            axes.plot(*place, marker, color=INK, markersize=size, markeredgecolor="white", zorder=3.5, label=name)
            segments.append((place, place))
    axes.margins(x=0.12, y=0.14)
    axes.grid(which="minor", axis="y", color=RULE, linewidth=0.4, alpha=0.5)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.6g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if not segments:
        axes.set_yscale("linear")
        write_message(axes, "no samples with tokens")
    add_legend(axes)
    axes.autoscale_view()  # labels are placed in pixels: the limits must be known
    label_gammas(axes, points, gammas, colors, segments, symbol="" if len(series) > 1 else "γ = ")
    foot = [note] if note else []
    if len(series) > 1:
        foot.append("numbers are γ")
    if absent:
        foot.append("nothing to measure at " + join_first(absent))
    figure.text(0.095, 0.022, "   ·   ".join(foot), fontsize=8.5, color=MUTED)
    return save_figure(figure, path)


def _place(point: TextPoint | None) -> tuple[float, float] | None:
    if point is None or point.entropy is None or point.perplexity is None:
        return None
    return None if math.isnan(point.entropy + point.perplexity) else (point.entropy, point.perplexity)
