"""Picture of generative perplexity against entropy."""

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from PIL import Image

from discrete_diffusion.eval.plots.style import INK
from discrete_diffusion.eval.plots.text_frontier import TextPoint, draw_text_frontier


def colors(path: Path) -> set[tuple[int, int, int]]:
    with Image.open(path) as image:
        found = image.convert("RGB").getcolors(maxcolors=2**24)
    return {color for _, color in found}


def ink(path: Path) -> float:
    with Image.open(path) as image:
        return float((np.asarray(image.convert("L")) < 250).mean())


def test_over_seeds_is_the_mean_with_its_interval() -> None:
    point = TextPoint.over_seeds(2.0, [4.0, 4.2, None], [30.0, 50.0])
    assert (point.gamma, point.entropy, point.perplexity) == (2.0, pytest.approx(4.1), 40.0)
    assert point.entropy_error == pytest.approx(12.706 * 0.1, rel=1e-4)
    assert point.perplexity_error == pytest.approx(12.706 * 10, rel=1e-4)
    assert TextPoint.over_seeds(2.0, [None], [None]) == TextPoint(2.0, None, None)


def test_every_method_is_drawn(tmp_path: Path) -> None:
    first = [TextPoint(g, 4.2 - 0.1 * g, 60 / (1 + g), 0.02, 100.0) for g in (2, 0, 1)]
    second = [TextPoint(1, 4.0, 50), TextPoint(2, None, 30), TextPoint(3, math.nan, 20)]
    own = {"start": TextPoint(0, 4.2, 61), "training": TextPoint(0, 4.3, 25)}
    both = draw_text_frontier({"D-CFG": first, "D-CBG": second}, tmp_path / "deep" / "both.png", **own)
    assert {(0, 114, 178), (213, 94, 0), tuple(int(INK[i : i + 2], 16) for i in (1, 3, 5))} <= colors(both)
    with Image.open(both) as image:
        assert image.size == (1536, 864)
    alone = draw_text_frontier({"D-CFG": first}, tmp_path / "alone.png", model_name="gpt2-large", note="one seed")
    assert (213, 94, 0) not in colors(alone)
    assert ink(alone) < ink(both)


@pytest.mark.parametrize("series", [{}, {"D-CFG": []}, {"D-CFG": [TextPoint(0, None, None)]}])
def test_empty_series_are_no_error(series: dict, tmp_path: Path) -> None:
    assert ink(draw_text_frontier(series, tmp_path / "picture.png")) > 0.003
    assert ink(draw_text_frontier(series, tmp_path / "picture.png", start=TextPoint(0, 4.0, 30))) > 0.003
