import csv
import math
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

import numpy as np
from PIL import Image

from discrete_diffusion.eval import draw_noise_levels, write_noise_levels

ACCURACY, POSITIVE_F1, CALIBRATION = (0, 114, 178), (213, 94, 0), (204, 121, 167)


def levels(**columns: list[float | None]) -> list[dict[str, float | None]]:
    count = len(next(iter(columns.values())))
    bounds = [{"level_from": i / count, "level_to": (i + 1) / count} for i in range(count)]
    return [{**bound, **{name: values[i] for name, values in columns.items()}} for i, bound in enumerate(bounds)]


def rows_of(path: Path, color: tuple[int, int, int]) -> np.ndarray:
    """The heights, from the top, of the pixels of a color within the axes."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    return np.argwhere((pixels[:, : int(0.68 * pixels.shape[1])] == color).all(-1))[:, 0]


def test_each_measure_is_drawn_at_its_height(tmp_path: Path) -> None:
    rows = levels(accuracy=[0.9] * 10, f1_positive=[0.5] * 10, ece=[0.1] * 10, majority=[0.8] * 10)
    path = draw_noise_levels(rows, tmp_path / "deep" / "levels.png")
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (1472, 736))
    height = {color: np.median(rows_of(path, color)) for color in (ACCURACY, POSITIVE_F1, CALIBRATION)}
    assert height[ACCURACY] < height[POSITIVE_F1] < height[CALIBRATION]
    axes = 0.665 * 736
    assert height[POSITIVE_F1] - height[ACCURACY] == pytest.approx(0.4 * axes, abs=4)
    assert height[CALIBRATION] - height[POSITIVE_F1] == pytest.approx(0.4 * axes, abs=4)


def test_missing_measures_are_not_drawn(tmp_path: Path) -> None:
    gaps = draw_noise_levels(levels(accuracy=[0.9, None, 0.4, math.nan], f1_positive=[None] * 4), tmp_path / "a.png")
    assert len(rows_of(gaps, ACCURACY))
    assert not len(rows_of(gaps, POSITIVE_F1))


def test_negative_r2_is_drawn_at_zero(tmp_path: Path) -> None:
    below = draw_noise_levels(levels(r2=[-9.0, -3.0]), tmp_path / "a.png")
    zero = draw_noise_levels(levels(r2=[0.0, 0.0]), tmp_path / "b.png")
    assert below.read_bytes() == zero.read_bytes()


def test_plot_without_measurements_has_a_message(tmp_path: Path) -> None:
    assert draw_noise_levels([], tmp_path / "a.png").exists()
    assert draw_noise_levels(levels(accuracy=[None]), tmp_path / "b.png").exists()


def test_a_row_without_bounds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Expected `level_from` and `level_to` in every row, got accuracy"):
        draw_noise_levels([{"accuracy": 0.5}], tmp_path / "a.png")


def test_the_table_can_be_read_back(tmp_path: Path) -> None:
    rows = [{"level_from": 0.0, "ece": 0.25}, {"level_from": 0.5, "ece": None, "r2": -1.0}]
    path = write_noise_levels(rows, tmp_path / "deep" / "levels.csv")
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert found == [{"level_from": "0.0", "ece": "0.25", "r2": ""}, {"level_from": "0.5", "ece": "", "r2": "-1.0"}]
