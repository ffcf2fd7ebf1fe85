"""Plot of the distribution of a property in the training data and in samples at each guidance scale."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator, PercentFormatter
from scipy import stats

from discrete_diffusion.eval.plots.label_placement import format_gamma
from discrete_diffusion.eval.plots.style import (
    add_legend,
    mark_x,
    new_figure,
    ordered_colors,
    save_figure,
    style_axes,
    write_message,
)

_TRAINING = "#c9ced6"
_FEWEST = 10  # values with a density


def draw_distribution(
    training: Iterable[float],
    generated: Mapping[float, Iterable[float]],
    path: str | Path,
    *,
    property_name: str = "QED",
    threshold: float | None = None,
    threshold_label: str = "threshold",
    title: str | None = None,
) -> Path:
    """Draw the training data as a filled histogram and the samples at each guidance scale as a line over it.

    Lines are kernel density estimates with Scott's bandwidth, drawn to three bandwidths beyond their values, where they
    are close to zero. If all values are in [0, 1], the lines end there. Fewer than 10 values, or values without spread,
    are drawn as ticks, a row for each scale. If every value is an integer, the plot shows the share of each integer
    instead. NaN and infinite values are left out.

    Args:
        training: Values of the training data.
        generated: Values of the samples by guidance scale; a list may be empty.
        path: File to write; its suffix decides the format.
        property_name: Name of the property, with its unit if it has one.
        threshold: Value to mark by a vertical line.
        threshold_label: Name of that value.
        title: Title; by default it names the property.
    """
    reference = _finite(training)
    samples = {gamma: _finite(generated[gamma]) for gamma in sorted(generated)}
    everything = np.concatenate([reference, *samples.values()])
    counted = len(everything) > 0 and bool((everything == np.round(everything)).all())
    figure = new_figure(9.2, 4.6)
    axes = figure.add_axes((0.085, 0.15, 0.665, 0.67))
    style_axes(
        axes,
        title=title or f"{property_name} of the samples and the training data",
        x_label=property_name,
        y_label="share" if counted else "density",
    )
    colors = ordered_colors(len(samples))
    if counted:
        _draw_shares(axes, reference, samples, colors)
    else:
        _draw_densities(axes, reference, samples, colors)
    if not len(everything):
        write_message(axes, "no values")
    else:
        axes.set_ylim(bottom=0.0)
    if threshold is not None:
        mark_x(axes, {threshold_label: threshold})
    add_legend(axes)
    return save_figure(figure, path)


def _finite(values: Iterable[float]) -> np.ndarray:
    array = np.array(list(values), dtype=np.float64)
    return array[np.isfinite(array)]


def _label(gamma: float, values: np.ndarray) -> str:
    return f"γ = {format_gamma(gamma)}  (n = {len(values):,})"


def _draw_densities(
    axes: Axes, reference: np.ndarray, samples: Mapping[float, np.ndarray], colors: Sequence[tuple[float, ...]]
) -> None:
    if len(reference):
        spread = reference.min() < reference.max()
        bins: int | list[float] = 50 if spread else [reference[0] - 0.01, reference[0] + 0.01]
        label = f"training data  (n = {len(reference):,})"
        axes.hist(reference, bins=bins, density=True, color=_TRAINING, label=label)
    # A share has no density outside [0, 1].
    shares = all(((one >= 0.0) & (one <= 1.0)).all() for one in (reference, *samples.values()))
    ticks = axes.get_xaxis_transform()
    row = 0
    for (gamma, values), color in zip(samples.items(), colors, strict=True):
        if len(values) >= _FEWEST and values.min() < values.max():
            density = stats.gaussian_kde(values)
            margin = 3.0 * float(np.sqrt(density.covariance[0, 0]))
            ends = np.array([values.min() - margin, values.max() + margin])
            ends = np.clip(ends, 0.0, 1.0) if shares else ends
            grid = np.linspace(ends[0], ends[1], 400)
            axes.plot(grid, density(grid), color=color, linewidth=1.9, label=_label(gamma, values))
        else:
            axes.plot(
                values,
                np.full(len(values), 0.02 + 0.045 * row),
                "|",
                color=color,
                transform=ticks,
                markersize=12,
                markeredgewidth=2,
                label=_label(gamma, values),
            )
            row += len(values) > 0


def _draw_shares(
    axes: Axes, reference: np.ndarray, samples: Mapping[float, np.ndarray], colors: Sequence[tuple[float, ...]]
) -> None:
    everything = np.concatenate([reference, *samples.values()])
    positions = np.arange(everything.min(), everything.max() + 1)
    if len(reference):
        edges = [*(positions - 0.5).tolist(), positions[-1] + 0.5]
        weights = np.full(len(reference), 1.0 / len(reference))
        label = f"training data  (n = {len(reference):,})"
        axes.hist(reference, bins=edges, weights=weights, rwidth=0.8, color=_TRAINING, label=label)
    for (gamma, values), color in zip(samples.items(), colors, strict=True):
        shares = [(values == x).mean() for x in positions] if len(values) else [np.nan] * len(positions)
        axes.plot(
            positions, shares, "o-", color=color, linewidth=1.7, markersize=5.5, markeredgecolor="white",
            label=_label(gamma, values), clip_on=False,
        )  # fmt: skip
    axes.xaxis.set_major_locator(MultipleLocator(max(1, round(len(positions) / 12))))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
