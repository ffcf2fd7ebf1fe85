import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from PIL import Image

from discrete_diffusion.eval import draw_distribution


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
def test_distribution_survives_little(training, generated, tmp_path: Path) -> None:
    assert ink(draw_distribution(training, generated, tmp_path / "picture.png", threshold=0.9)) > 0.003
