"""Plots of DNA: k-mer spectra, composition by position, colored sequences."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from PIL import Image, ImageDraw

from discrete_diffusion.eval.metrics.dna import LETTERS, kmers
from discrete_diffusion.eval.plots.style import (
    INK,
    MUTED,
    PAPER,
    add_legend,
    font,
    new_figure,
    save_figure,
    series_style,
    style_axes,
    write_message,
)

LETTER_COLORS = {"A": "#009e73", "C": "#0072b2", "G": "#e69f00", "T": "#d55e00", "N": "#c9ced6"}
"""The usual green, blue, orange and red of the bases, in hues that are distinct with every common color vision."""

_DATA = "#c9ced6"
_LETTERS_PER_BAR = 30  # at least: with fewer, a bar shows chance


def draw_kmer_spectrum(
    reference: Float[np.ndarray, " kmers"],
    generated: Mapping[str, Float[np.ndarray, " kmers"]],
    path: str | Path,
    *,
    title: str | None = None,
    note: str = "",
    letters: str = LETTERS,
) -> Path:
    """Draw the share of each k-mer in the data as a bar, and its share in each set of samples as a marker.

    Args:
        reference: Spectrum of the data, from `kmer_spectrum`, for k <= 3.
        generated: Spectrum of each set of samples, by its name.
        path: File to write; its suffix decides the format.
        title: Title; by default it names k.
        note: Line below the plot, such as the distance of the spectra.
        letters: Alphabet; by default that of DNA.

    Raises:
        ValueError: If the spectra do not all have length 4^k (of another alphabet, len(letters)^k) for one k from 1 to
            3, or there are more than 100 k-mers.
    """
    shapes = {np.shape(one) for one in (reference, *generated.values())}
    k = next((k for k in (1, 2, 3) if shapes == {(len(letters) ** k,)} and len(letters) ** k <= 100), None)
    if k is None:
        size = len(letters)
        raise ValueError(f"Expected spectra of one shape ({size}^k,), k from 1 to 3, got {sorted(shapes)}.")
    figure = new_figure(12.0, 4.6)
    axes = figure.add_axes((0.085, 0.18, 0.7, 0.7))
    style_axes(
        axes,
        title=f"{k}-mers of samples and data" if title is None else title,
        x_label="",
        y_label="share of letters" if k == 1 else f"share of {k}-mers",
        pad=12.0,
    )
    places, labels = np.arange(len(letters) ** k), kmers(k, letters)
    axes.bar(places, reference, width=0.82, color=_DATA, label="data")
    for index, (name, spectrum) in enumerate(generated.items()):
        style = series_style(index)
        axes.plot(
            places,
            spectrum,
            linewidth=0,
            color=style["color"],
            marker=style["marker"],
            markersize=5.0,
            markeredgecolor="white",
            markeredgewidth=0.5,
            label=name,
        )
    if not reference.any() and not any(one.any() for one in generated.values()):
        write_message(axes, f"no {k}-mers")
    axes.set_xlim(-1, len(places))
    axes.set_ylim(bottom=0.0)
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xticks(places, labels, rotation=90 if k > 1 else 0, fontsize=8, family="monospace")
    add_legend(axes)
    figure.text(0.085, 0.03, note, fontsize=8.5, color=MUTED)
    return save_figure(figure, path)


def draw_composition(
    rows: Mapping[str, Sequence[str]],
    path: str | Path,
    *,
    bins: int = 64,
    title: str = "Composition along the sequence",
) -> Path:
    """Draw the share of each letter along the sequence, as one row of stacked bars for each set of sequences.

    Windows of a genome start anywhere, so their rows are even up to chance. Rows of a model that is worse at the ends
    of a sequence, or that repeats itself, are uneven. Letters other than A, C, G, T and N are not counted.

    Args:
        rows: Sequences by the name of their row.
        path: File to write; its suffix decides the format.
        bins: Maximum number of bars in a row. Rows of few letters have fewer, of about 30 letters each.
        title: Title.

    Raises:
        ValueError: If `rows` is empty, or `bins` < 1.
    """
    if not rows:
        raise ValueError("Expected `rows` with at least one set of sequences, got none.")
    if bins < 1:
        raise ValueError(f"Expected `bins` >= 1, got {bins}.")
    length = max((len(one) for row in rows.values() for one in row), default=0)
    height = 1.05 + 1.25 * len(rows)
    figure = new_figure(10.0, height)
    figure.text(0.09, 1 - 0.32 / height, title, fontsize=13, color=INK, fontweight="bold")
    has_unknown = any("N" in one for row in rows.values() for one in row)
    for index, (name, sequences) in enumerate(rows.items()):
        bottom = (0.62 + 1.25 * (len(rows) - 1 - index)) / height
        axes = figure.add_axes((0.09, bottom, 0.8, 0.9 / height))
        style_axes(axes, title="", x_label="", y_label="", pad=0.0)
        axes.set_title(f"{name}  (n = {len(sequences):,})", loc="left", fontsize=10, color=INK, pad=5.0)
        _stack(axes, sequences, bins, [*LETTERS, "N"] if has_unknown else [*LETTERS])
        axes.set(xlim=(0, max(length, 1)), ylim=(0, 1), yticks=(0, 0.5, 1))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(visible=False)
        if index == 0:
            add_legend(axes)
        if index < len(rows) - 1:
            axes.tick_params(labelbottom=False)
        else:
            axes.set_xlabel("position in the sequence, in letters", fontsize=10, color=INK, labelpad=6)
    return save_figure(figure, path)


def _stack(axes: Axes, sequences: Sequence[str], bins: int, letters: Sequence[str]) -> None:
    """Draw bars up to the end of the longest sequence."""
    length = max(map(len, sequences), default=0)
    bars = min(bins, length, max(sum(map(len, sequences)) // _LETTERS_PER_BAR, 1))
    edges = np.unique(np.linspace(0, length, bars + 1).round())
    counts = np.zeros((len(letters), len(edges) - 1))
    for one in sequences:
        codes = np.frombuffer(one.encode("ascii", "replace"), dtype=np.uint8)
        for row, letter in enumerate(letters):
            counts[row] += np.histogram((codes == ord(letter)).nonzero()[0], edges)[0]
    shares = counts / np.maximum(counts.sum(0), 1)
    bottoms = shares.cumsum(0) - shares
    for letter, share, bottom in zip(letters, shares, bottoms, strict=True):
        axes.bar(edges[:-1], share, np.diff(edges), bottom, color=LETTER_COLORS[letter], align="edge", label=letter)
    if not shares.any():
        write_message(axes, "no letters")


_SCALE = 2  # pixels per unit of the layout, for sharp images on screens of high resolution


def draw_dna(
    sequences: Sequence[str],
    path: str | Path,
    *,
    values: Sequence[float] | None = None,
    property_name: str = "GC content",
    letters: int = 256,
    columns: int = 64,
    title: str = "",
) -> Path:
    """Draw the first letters of sequences in color, one sequence below the other.

    Args:
        sequences: Sequences from top to bottom. Without any, the image says so.
        path: File to write; its suffix decides the format.
        values: Property of each sequence.
        property_name: Name of the property.
        letters: Number of letters of each sequence.
        columns: Letters in a line.
        title: Title.

    Raises:
        ValueError: If `values` and `sequences` differ in length, or `letters` or `columns` is below 1.
    """
    if values is not None and len(values) != len(sequences):
        raise ValueError(f"Expected {len(sequences)} `values`, one for each sequence, got {len(values)}.")
    if min(letters, columns) < 1:
        raise ValueError(f"Expected `letters` and `columns` >= 1, got {letters} and {columns}.")
    margin, gap, caption, cell = 14 * _SCALE, 10 * _SCALE, 16 * _SCALE, 12 * _SCALE
    heading = font(15 * _SCALE, bold=True)
    top = margin + (28 * _SCALE if title else 0)
    lines = [max(-(-min(len(one), letters) // columns), 1) for one in sequences]
    widest = min(max((len(one) for one in sequences), default=0), letters, columns) * cell
    across = max(widest, math.ceil(heading.getlength(title)), 280 * _SCALE)
    tall = sum(caption + count * cell for count in lines) + max(len(lines) - 1, 0) * gap if lines else 40 * _SCALE
    sheet = Image.new("RGB", (2 * margin + across, top + tall + margin), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((margin, margin), title, fill=INK, font=heading)
    if not sequences:
        middle = (sheet.width // 2, top + tall // 2)
        pen.text(middle, "no sequences", fill=MUTED, font=font(12 * _SCALE), anchor="mm")
    y, inside = top, font(0.72 * cell, bold=True)
    for index, (one, count) in enumerate(zip(sequences, lines, strict=True)):
        label = f"{index + 1}"
        if values is not None:
            label += f"   ·   {property_name} " + (f"{values[index]:.3f}" if math.isfinite(values[index]) else "–")
        if len(one) > letters:
            label += f"   ·   the first {letters:,} of {len(one):,} letters"
        pen.text((margin, y), label, fill=MUTED, font=font(9.5 * _SCALE))
        y += caption
        for i, letter in enumerate(one[:letters]):
            row, column = divmod(i, columns)
            x, line = margin + column * cell, y + row * cell
            pen.rectangle((x, line, x + cell - 1, line + cell - 1), fill=LETTER_COLORS.get(letter, PAPER))
            ink = PAPER if letter in "ACT" else INK
            pen.text((x + cell / 2, line + cell / 2), letter, fill=ink, font=inside, anchor="mm")
        y += count * cell + gap
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target)
    return target
