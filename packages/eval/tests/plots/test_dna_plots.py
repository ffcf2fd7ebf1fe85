from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("PIL")

from PIL import Image, ImageColor

from discrete_diffusion.eval.metrics.dna import kmer_spectrum
from discrete_diffusion.eval.plots import dna
from discrete_diffusion.eval.plots.dna import LETTER_COLORS, draw_composition, draw_dna, draw_kmer_spectrum


def share(path: Path, color: str) -> float:
    """Share of the pixels that have this color."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    return float((pixels == ImageColor.getrgb(color)).all(-1).mean())


def test_kmer_spectrum(tmp_path: Path) -> None:
    data = kmer_spectrum(["ACGTTGCA" * 4], 3)
    path = draw_kmer_spectrum(
        data, {"one": np.roll(data, 1), "two": data}, tmp_path / "deep" / "kmers.png", note="note"
    )
    assert min(share(path, color) for color in ("#c9ced6", "#0072b2", "#d55e00")) > 1e-4
    for k in (1, 2):
        assert draw_kmer_spectrum(kmer_spectrum(["ACCA"], k), {}, tmp_path / "few.svg").exists()
    none = np.zeros(64)
    assert share(draw_kmer_spectrum(none, {"none": none}, tmp_path / "none.png"), "#c9ced6") < 0.01
    for wrong in ({"one": np.zeros(16)}, {"one": np.zeros((64, 1))}):
        with pytest.raises(ValueError, match=r"Expected spectra of one shape \(4\^k,\)"):
            draw_kmer_spectrum(data, wrong, tmp_path / "no.png")


def test_composition_fills_the_axes_with_the_shares(tmp_path: Path) -> None:
    path = draw_composition({"data": ["AAAC" * 30]}, tmp_path / "a.png", bins=30)
    # Every bin is three quarters A; the letters of the legend add a little to each.
    assert share(path, LETTER_COLORS["A"]) / share(path, LETTER_COLORS["C"]) == pytest.approx(3, rel=0.05)
    assert share(path, LETTER_COLORS["N"]) == 0
    unknown = draw_composition({"data": ["ACGT"], "samples": ["NN[MASK]A", ""], "none": []}, tmp_path / "b.png")
    assert share(unknown, LETTER_COLORS["N"]) > 0.01
    assert draw_composition({"none": []}, tmp_path / "c.png").exists()
    with pytest.raises(ValueError, match="Expected `rows`"):
        draw_composition({}, path)
    with pytest.raises(ValueError, match="Expected `bins` >= 1, got 0"):
        draw_composition({"data": ["A"]}, path, bins=0)


def test_every_letter_of_a_composition_is_in_the_legend(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = []
    monkeypatch.setattr(dna, "save_figure", lambda figure, path: figures.append(figure))
    draw_composition({"data": ["ACGT" * 30], "samples": ["ACGN" * 30]}, "a.png")
    draw_composition({"data": ["ACGT" * 30]}, "a.png")
    letters = [[one.get_text() for one in figure.axes[0].get_legend().get_texts()] for figure in figures]
    assert letters == [list("ACGTN"), list("ACGT")]


def test_bars_of_few_letters_are_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = []
    monkeypatch.setattr(dna, "save_figure", lambda figure, path: figures.append(figure))
    draw_composition({"many": ["ACGT" * 30] * 100, "one": ["ACGT" * 30]}, "a.png", bins=64)
    # Four letters at a time: 64 bars from 12,000 letters, and 4 of 30 letters from 120.
    assert [len(axes.patches) // 4 for axes in figures[0].axes] == [64, 4]


def test_sheet_of_sequences(tmp_path: Path) -> None:
    path = draw_dna(["A" * 100, "C" * 30, "A[MASK]"], tmp_path / "a.png", letters=60, columns=20, title="DNA")
    # Three lines of A (60 of 100 letters), and two of C, the second half full: 60 to 30 cells.
    assert share(path, LETTER_COLORS["A"]) / share(path, LETTER_COLORS["C"]) == pytest.approx(2, rel=0.1)
    labeled = draw_dna(["ACGT", "N"], tmp_path / "b.png", values=[0.5, np.nan])
    assert share(labeled, LETTER_COLORS["N"]) > 0
    assert draw_dna([], tmp_path / "deep" / "none.png", title="No DNA").exists()
    with pytest.raises(ValueError, match="Expected 2 `values`, one for each sequence, got 1"):
        draw_dna(["A", "C"], path, values=[1.0])
    with pytest.raises(ValueError, match="Expected `letters` and `columns` >= 1, got 0 and 64"):
        draw_dna(["A"], path, letters=0)
