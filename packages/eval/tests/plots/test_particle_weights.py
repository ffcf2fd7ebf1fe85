import math
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

import numpy as np
from PIL import Image

from discrete_diffusion.eval import draw_particle_weights
from discrete_diffusion.eval.plots.style import series_style

NAMES = [f"method {i}" for i in range(13)]


def colors(path: Path) -> set[tuple[int, int, int]]:
    with Image.open(path) as image:
        return {tuple(pixel) for pixel in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}


def test_many_series_look_different() -> None:
    looks = [tuple(series_style(index).values()) for index in range(14)]
    assert len(set(looks)) == 14
    assert len({(color, marker) for color, marker, _ in looks}) == 14


def test_particle_weights(tmp_path: Path) -> None:
    steps = [(t / 8, 1 - t / 10, math.nan if t in (0, 8) else 0.5) for t in range(9)]
    path = draw_particle_weights({"γ = 1": steps, "γ = 2": steps[::-1]}, tmp_path / "particles.png", threshold=0.5)
    # The second line lies over the first: time orders the steps, not the list.
    assert (59, 10, 51) in colors(path)
    assert draw_particle_weights({}, tmp_path / "empty.png").stat().st_size > 1000
