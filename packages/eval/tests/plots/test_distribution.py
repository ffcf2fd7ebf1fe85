import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure
from PIL import Image

from discrete_diffusion.eval.plots import distribution
from discrete_diffusion.eval.plots.distribution import draw_distribution


def ink(path: Path) -> float:
    """Share of pixels that are not white."""
    with Image.open(path) as image:
        return float((np.asarray(image.convert("L")) < 250).mean())


def colors(image) -> set[tuple[int, int, int]]:
    return {tuple(pixel) for pixel in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}


def test_distribution(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    generated = {0.0: rng.normal(0.5, 0.1, 50), 2.0: [], 3.0: [0.6], 4.0: [0.7, 0.7], 5.0: [math.nan, 0.5]}
    path = draw_distribution(rng.normal(0.4, 0.1, 500), generated, tmp_path / "density.png", threshold=0.55)
    with Image.open(path) as image:
        assert image.size == (1472, 736)
        assert (201, 206, 214) in colors(image)
    rings = draw_distribution([0, 1, 1, 2], {0: [1, 2], 1: []}, tmp_path / "rings.png", property_name="rings")
    assert ink(rings) > 0.01


@pytest.mark.parametrize("training", [[], [0.5], [0.5, 0.5], [1, 1]])
@pytest.mark.parametrize("generated", [{}, {0.0: []}, {0.0: [0.3]}, {0.0: [0.2, 0.3]}])
def test_few_or_no_values_are_no_error(training, generated, tmp_path: Path) -> None:
    assert ink(draw_distribution(training, generated, tmp_path / "picture.png", threshold=0.9)) > 0.003


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    kept: list[Figure] = []
    monkeypatch.setattr(distribution, "save_figure", lambda figure, path: kept.append(figure))
    return kept


@pytest.mark.parametrize(("shift", "inside"), [(0.0, True), (0.5, False)])
def test_density_of_shares_stays_between_zero_and_one(shift: float, inside: bool, figures: list[Figure]) -> None:
    values = np.random.default_rng(0).beta(20, 1, 100) + shift
    draw_distribution(values, {1.0: values}, "a.png")
    (line,) = figures[0].axes[0].lines
    assert bool(line.get_xdata().max() <= 1.0) is inside


def test_few_values_are_drawn_as_ticks(figures: list[Figure]) -> None:
    draw_distribution([0.1, 0.9], {1.0: [0.2, 0.8], 2.0: np.linspace(0.2, 0.8, 10)}, "a.png")
    assert [one.get_marker() for one in figures[0].axes[0].lines] == ["|", "None"]
    assert [len(one.get_xdata()) for one in figures[0].axes[0].lines] == [2, 400]


def test_ticks_of_equal_values_do_not_cover_each_other(figures: list[Figure]) -> None:
    draw_distribution([0.1, 0.9], {1.0: [0.5], 2.0: [], 3.0: [0.5], 5.0: [0.5]}, "a.png")
    rows = [line.get_ydata().tolist() for line in figures[0].axes[0].lines]
    assert rows == [[0.02], [], [0.065], [pytest.approx(0.11)]]


def test_density_is_drawn_to_its_ends(figures: list[Figure]) -> None:
    rng = np.random.default_rng(0)
    draw_distribution(rng.normal(5.0, 1.0, 50), {1.0: rng.normal(5.0, 1.0, 10), 2.0: rng.normal(9.0, 1.0, 10)}, "a.png")
    for line in figures[0].axes[0].lines:
        heights = line.get_ydata()
        assert max(heights[0], heights[-1]) < 0.02 * heights.max()
