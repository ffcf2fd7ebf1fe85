"""Plot of the weights of particles from noise to data."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.ticker import PercentFormatter

from discrete_diffusion.eval.plots.style import (
    MUTED,
    add_legend,
    new_figure,
    ordered_colors,
    save_figure,
    style_axes,
    write_message,
)


def draw_particle_weights(
    series: Mapping[str, Sequence[tuple[float, float, float]]],
    path: str | Path,
    *,
    threshold: float | None = None,
    title: str = "Particles",
) -> Path:
    """Draw the effective sample size and the share of searches that resampled, over time.

    Args:
        series: Steps of each series, by its name such as "γ = 2", in ascending order. A step is its time, its effective
            sample size as a share of the particles, and the share of searches that resampled; NaN leaves a gap.
        path: File to write; its suffix decides the format.
        threshold: Share of effective particles below which a search resamples, drawn as a horizontal line.
        title: Title.
    """
    figure = new_figure(9.2, 5.8)
    upper = figure.add_axes((0.085, 0.5, 0.7, 0.42))
    lower = figure.add_axes((0.085, 0.115, 0.7, 0.31))
    style_axes(upper, title=title, x_label="", y_label="effective sample size", pad=14)
    style_axes(lower, title="", x_label="time t (1 = noise, 0 = data)", y_label="searches resampled")
    if threshold is not None:
        upper.axhline(threshold, color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)), label="resampled below")
    for (name, steps), color in zip(series.items(), ordered_colors(len(series)), strict=True):
        ordered = sorted(steps, reverse=True)
        times = [t for t, _, _ in ordered]
        upper.plot(times, [ess for _, ess, _ in ordered], color=color, linewidth=1.9, label=name)
        shares = [share for _, _, share in ordered]
        lower.plot(times, shares, color=color, linewidth=1.4, marker="o", markersize=3.5, label=name)
    for axes in (upper, lower):
        axes.set(xlim=(1.02, -0.02), ylim=(-0.02, 1.05))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    upper.tick_params(labelbottom=False)
    if not any(series.values()):
        write_message(upper, "no particles")
    add_legend(upper)
    return save_figure(figure, path)
