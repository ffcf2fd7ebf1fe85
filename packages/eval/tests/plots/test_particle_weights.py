import math
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

import numpy as np
from PIL import Image

from discrete_diffusion.eval import CostPoint, FrontierPoint, draw_cost, draw_frontier, draw_particle_weights
from discrete_diffusion.eval.plots.style import series_style

NAMES = [f"method {i}" for i in range(13)]


def colors(path: Path) -> set[tuple[int, int, int]]:
    with Image.open(path) as image:
        return {tuple(pixel) for pixel in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}


def test_many_series_look_different() -> None:
    looks = [tuple(series_style(index).values()) for index in range(14)]
    assert len(set(looks)) == 14
    assert len({(color, marker) for color, marker, _ in looks}) == 14


def test_a_frontier_of_many_methods_begins_at_one_point(tmp_path: Path) -> None:
    series = {
        name: [
            FrontierPoint(g, 0.5 + 0.01 * i * g, max(0.0, 0.4 - 0.01 * i * g)) for g in (1, 2, math.inf)[: 2 + i % 2]
        ]
        for i, name in enumerate(NAMES)
    }
    finite = {name: points[:2] for name, points in series.items()}
    path = draw_frontier(finite, tmp_path / "frontier.png", start=FrontierPoint(0, 0.46, 0.45), share=True)
    with Image.open(path) as image:
        assert image.size == (1664, 992)
    assert {(0, 114, 178), (31, 36, 48)} <= colors(path)
    one = {"a": [FrontierPoint(math.inf, 0.5, 0.5), FrontierPoint(2, None, 0.0)]}
    assert draw_frontier(one, tmp_path / "infinite.png", noun="strings").stat().st_size > 1000
    assert draw_frontier({}, tmp_path / "start.png", start=FrontierPoint(0, 0.46, 45)).stat().st_size > 1000


def test_cost(tmp_path: Path) -> None:
    series = {
        "cheap": [CostPoint(1, 2.0, 0.5), CostPoint(2, 2.5, 0.55, 0.01)],
        "dear": [CostPoint(1, 2000.0, 0.6), CostPoint(3, 2000.0, None), CostPoint(4, 2000.0, math.nan)],
    }
    path = draw_cost(series, tmp_path / "cost.png", training_mean=0.46, start=CostPoint(0, 1.0, 0.46), note="one seed")
    assert {(0, 114, 178), (213, 94, 0), (31, 36, 48)} <= colors(path)


@pytest.mark.parametrize("series", [{}, {"a": []}, {"a": [CostPoint(1, 3.0, None)]}, {"a": [CostPoint(1, 3.0, 0.5)]}])
def test_cost_survives_little(series: dict[str, list[CostPoint]], tmp_path: Path) -> None:
    assert draw_cost(series, tmp_path / "cost.png").stat().st_size > 1000


def test_particle_weights(tmp_path: Path) -> None:
    steps = [(t / 8, 1 - t / 10, math.nan if t in (0, 8) else 0.5) for t in range(9)]
    path = draw_particle_weights({"γ = 1": steps, "γ = 2": steps[::-1]}, tmp_path / "particles.png", threshold=0.5)
    # The second line lies over the first: time orders the steps, not the list.
    assert (59, 10, 51) in colors(path)
    assert draw_particle_weights({}, tmp_path / "empty.png").stat().st_size > 1000
