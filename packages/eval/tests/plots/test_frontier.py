import math
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from PIL import Image

from discrete_diffusion.eval import FrontierPoint, draw_distribution, draw_frontier


def ink(path: Path) -> float:
    """Share of pixels that are not white."""
    with Image.open(path) as image:
        return float((np.asarray(image.convert("L")) < 250).mean())


def colors(image) -> set[tuple[int, int, int]]:
    return {tuple(pixel) for pixel in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}


def test_over_seeds_is_the_mean_with_its_interval() -> None:
    point = FrontierPoint.over_seeds(2.0, [0.5, 0.7, None], [10, 20, 0])
    assert (point.gamma, point.mean_property, point.novel) == (2.0, pytest.approx(0.6), 10.0)
    assert point.mean_property_error == pytest.approx(12.706 * 0.1, rel=1e-4)
    assert point.novel_error == pytest.approx(4.303 * 10 / math.sqrt(3), rel=1e-4)
    assert FrontierPoint.over_seeds(2.0, [None], [0]) == FrontierPoint(2.0, None, 0.0)


def test_frontier(tmp_path: Path) -> None:
    first = [FrontierPoint(g, 0.45 + 0.02 * g, 500 - 80 * g, 0.01, 20.0) for g in (2, 0, 1, 5)]
    second = [FrontierPoint(0, 0.45, 400), FrontierPoint(3, None, 0), FrontierPoint(4, math.nan, 0)]
    alone = draw_frontier({"D-CFG": first}, tmp_path / "deep" / "alone.png", generated=1024)
    both = draw_frontier(
        {"D-CFG": first, "D-CBG": second}, tmp_path / "both.png", training_mean=0.47, training_percentile=0.55
    )
    with Image.open(alone) as image:
        assert image.format == "PNG"
        assert image.size == (1216, 768)
        assert (0, 114, 178) in colors(image)
    with Image.open(both) as image:
        assert {(0, 114, 178), (213, 94, 0)} <= colors(image)
    assert 0.01 < ink(alone) < 0.3


@pytest.mark.parametrize(
    "series",
    [{}, {"D-CFG": []}, {"D-CFG": [FrontierPoint(5, None, 0)]}, {"D-CFG": [FrontierPoint(0, 0.5, 0)]}],
)
def test_frontier_survives_nothing(series, tmp_path: Path) -> None:
    for lines in ({}, {"training_mean": 0.4}, {"training_mean": 0.4, "training_percentile": 0.4}):
        assert ink(draw_frontier(series, tmp_path / "picture.png", **lines)) > 0.005


@pytest.mark.parametrize("ending", ["svg", "pdf"])
def test_suffix_decides_the_format(ending: str, tmp_path: Path) -> None:
    path = draw_frontier({"D-CFG": [FrontierPoint(0, 0.5, 10)]}, tmp_path / f"picture.{ending}")
    assert path.read_bytes()[:5] == {"svg": b"<?xml", "pdf": b"%PDF-"}[ending]


def test_pictures_leave_pyplot_alone(tmp_path: Path) -> None:
    draw_frontier({"D-CFG": [FrontierPoint(0, 0.5, 10)]}, tmp_path / "picture.png")
    draw_distribution([0.5], {}, tmp_path / "picture.png")
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
