"""Table and plot of the quality of a classifier at each noise level."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.ticker import PercentFormatter

from discrete_diffusion.eval.plots.style import (
    CATEGORIES,
    MARKERS,
    MUTED,
    add_legend,
    new_figure,
    save_figure,
    style_axes,
    write_message,
)

MEASURES = {
    "accuracy": "accuracy",
    "f1_positive": "F1 of the positive class",
    "f1_macro": "F1, mean over classes",
    "ece": "calibration error",
    "r2": "R²",
    "within_sigma": "data within one σ",
}
REFERENCES = {
    "majority": "always the most common class",
    "normal_within_sigma": "normal distribution within one σ",
}


def write_noise_levels(rows: Sequence[Mapping[str, float | None]], path: str | Path) -> Path:
    """Write one CSV row per bin of noise levels; None is an empty cell.

    Args:
        rows: `level_from`, `level_to` and the measured numbers of each bin.
        path: File to write.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return target


def draw_noise_levels(
    rows: Sequence[Mapping[str, float | None]],
    path: str | Path,
    *,
    level_name: str = "noise level t",
    title: str = "Classifier by noise level",
    note: str = "",
) -> Path:
    """Draw accuracy, F1 and expected calibration error of a classifier at the middle of each bin of noise levels.

    For a regressor, draw R² and the share of data within one predicted standard deviation. Dashed lines show the
    accuracy of always predicting the most common class, and the share of a calibrated normal distribution. R² below
    zero, which is worse than predicting the mean, is drawn at zero.

    Args:
        rows: `level_from`, `level_to` and any columns of MEASURES and REFERENCES, for each bin. None and NaN leave a
            gap.
        path: File to write; its suffix decides the format.
        level_name: Label of the x axis.
        title: Title.
        note: Line below the plot, such as the name of the classified data.

    Raises:
        ValueError: If a row has no `level_from` or `level_to`.
    """
    for row in rows:
        if row.get("level_from") is None or row.get("level_to") is None:
            raise ValueError(f"Expected `level_from` and `level_to` in every row, got {', '.join(row) or 'nothing'}.")
    figure = new_figure(9.2, 4.6)
    axes = figure.add_axes((0.085, 0.185, 0.6, 0.665))
    style_axes(axes, title=title, x_label=level_name, y_label="")
    middles = [((row["level_from"] or 0.0) + (row["level_to"] or 0.0)) / 2 for row in rows]
    drawn = False
    for name, label in REFERENCES.items():
        if heights := _column(rows, name):
            axes.plot(middles, heights, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), label=label, zorder=1.5)
            drawn = True
    # The position in MEASURES decides the color, so that a measure has the same color in every plot.
    for index, (name, label) in enumerate(MEASURES.items()):
        if heights := _column(rows, name):
            color, marker = CATEGORIES[index % len(CATEGORIES)], MARKERS[index % len(MARKERS)]
            heights = [max(height, 0.0) for height in heights]
            axes.plot(
                middles, heights, color=color, marker=marker, linewidth=1.7, markersize=6, markeredgecolor="white",
                label=label, clip_on=False, zorder=3,
            )  # fmt: skip
            drawn = True
    axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if not drawn:
        write_message(axes, "no measurements")
    add_legend(axes)
    figure.text(0.085, 0.025, note, fontsize=8.5, color=MUTED)
    return save_figure(figure, path)


def _column(rows: Sequence[Mapping[str, float | None]], name: str) -> list[float]:
    """Return a column with NaN for None, or an empty list if it has no value."""
    values = [math.nan if (value := row.get(name)) is None else value for row in rows]
    return [] if all(map(math.isnan, values)) else values
