"""Pictures: which k-mers sequences of DNA are made of, and which letters stand where."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from discrete_diffusion.eval.kmers import LETTERS, kmers
from discrete_diffusion.eval.style import INK, MUTED, dress, legend, new_figure, save, say_empty, series_style

LETTER_COLORS = {"A": "#009e73", "C": "#0072b2", "G": "#e69f00", "T": "#d55e00", "N": "#c9ced6"}
"""The usual green, blue, orange and red of the bases, in colors told apart with every common color vision."""

_DATA = "#c9ced6"


def draw_kmer_spectrum(
    reference: np.ndarray,
    generated: Mapping[str, np.ndarray],
    path: str | Path,
    *,
    title: str | None = None,
    note: str = "",
) -> Path:
    """Draw the share of each k-mer in the data as a bar, and in each set of samples as a mark over it.

    Args:
        reference: The data's spectrum, (4^k,), k at most 3, as `kmer_spectrum` gives it.
        generated: The spectrum of each set of samples, by its name.
        path: File to write; its suffix decides the format.
        title: Title, names what is drawn if not given.
        note: Line below the picture, such as how far the spectra are apart.

    Raises:
        ValueError: If the spectra are not those of k-mers of one k from 1 to 3.
    """
    shapes = {np.shape(one) for one in (reference, *generated.values())}
    k = next((k for k in (1, 2, 3) if shapes == {(4**k,)}), None)
    if k is None:
        raise ValueError(f"Expected spectra of one shape (4^k,), k from 1 to 3, got {sorted(shapes)}.")
    figure = new_figure(12.0, 4.6)
    axes = figure.add_axes((0.085, 0.18, 0.7, 0.7))
    dress(
        axes,
        title=f"{k}-mers of samples and data" if title is None else title,
        x_label="",
        y_label=f"share of {k}-mers",
        pad=12.0,
    )
    places, labels = np.arange(4**k), kmers(k)
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
        say_empty(axes, f"no {k}-mers")
    axes.set_xlim(-1, 4**k)
    axes.set_ylim(bottom=0.0)
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xticks(places, labels, rotation=90 if k > 1 else 0, fontsize=8, family="monospace")
    legend(axes)
    figure.text(0.085, 0.03, note, fontsize=8.5, color=MUTED)
    return save(figure, path)


def draw_composition(
    rows: Mapping[str, Sequence[str]],
    path: str | Path,
    *,
    bins: int = 64,
    title: str = "Letters by their place in the sequence",
) -> Path:
    """Draw, for each set of sequences, the share of each letter along the sequence: a row of stacked bars.

    Genomes have no preferred places, so that each row of them is even, but for chance; a model that is worse at the
    ends, or repeats itself, is not. Letters other than A, C, G, T and N count for nothing.

    Args:
        rows: Sequences by the name of their row.
        path: File to write; its suffix decides the format.
        bins: Bars in a row, at most; places next to each other share one.
        title: Title.

    Raises:
        ValueError: If `rows` is empty, or `bins` < 1.
    """
    if not rows:
        raise ValueError("Expected `rows` to draw, got none.")
    if bins < 1:
        raise ValueError(f"Expected `bins` >= 1, got {bins}.")
    length = max((len(one) for row in rows.values() for one in row), default=0)
    height = 1.05 + 1.25 * len(rows)
    figure = new_figure(10.0, height)
    figure.text(0.09, 1 - 0.32 / height, title, fontsize=13, color=INK, fontweight="bold")
    edges = np.unique(np.linspace(0, max(length, 1), min(bins, max(length, 1)) + 1).round())
    for index, (name, sequences) in enumerate(rows.items()):
        bottom = (0.62 + 1.25 * (len(rows) - 1 - index)) / height
        axes = figure.add_axes((0.09, bottom, 0.8, 0.9 / height))
        dress(axes, title="", x_label="", y_label="", pad=0.0)
        axes.set_title(f"{name}  (n = {len(sequences):,})", loc="left", fontsize=10, color=INK, pad=5.0)
        _stack(axes, _shares(sequences, edges), edges)
        axes.set(xlim=(0, max(length, 1)), ylim=(0, 1), yticks=(0, 0.5, 1))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(visible=False)
        if index == 0:
            legend(axes)
        if index < len(rows) - 1:
            axes.tick_params(labelbottom=False)
        else:
            axes.set_xlabel("place in the sequence, in letters", fontsize=10, color=INK, labelpad=6)
    return save(figure, path)


def _shares(sequences: Iterable[str], edges: np.ndarray) -> np.ndarray:
    """The share of each of the letters A, C, G, T, N in each bin, (5, bins); zeros where there are none."""
    counts = np.zeros((len(LETTER_COLORS), len(edges) - 1))
    for one in sequences:
        letters = np.frombuffer(one.encode("ascii", "replace"), dtype=np.uint8)
        for row, letter in enumerate(LETTER_COLORS):
            counts[row] += np.histogram((letters == ord(letter)).nonzero()[0], edges)[0]
    return counts / np.maximum(counts.sum(0), 1)


def _stack(axes: Axes, shares: np.ndarray, edges: np.ndarray) -> None:
    bottom = np.zeros(shares.shape[1])
    for (letter, color), share in zip(LETTER_COLORS.items(), shares, strict=True):
        if letter in LETTERS or share.any():
            axes.bar(edges[:-1], share, np.diff(edges), bottom, color=color, align="edge", label=letter)
        bottom += share
    if not shares.any():
        say_empty(axes, "no letters")
