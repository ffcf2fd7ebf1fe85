import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("rdkit")

from PIL import Image

from discrete_diffusion.eval import draw_molecule_grid, molecule_image


def ink(path: Path) -> float:
    """Share of pixels that are not white."""
    with Image.open(path) as image:
        return float((np.asarray(image.convert("L")) < 250).mean())


def colors(image) -> set[tuple[int, int, int]]:
    return {tuple(pixel) for pixel in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}


def test_molecule_image() -> None:
    image = molecule_image("CCO", (120, 90))
    assert image is not None
    assert image.size == (120, 90)
    assert len(colors(image)) > 3
    assert molecule_image("C1CC", (120, 90)) is None
    assert molecule_image("", (120, 90)) is None


def test_molecule_grid(tmp_path: Path) -> None:
    smiles = ["CCO", "c1ccccc1", "C1CC", "C" * 60, "N"]
    path = draw_molecule_grid(smiles, tmp_path / "grid.png", values=[0.4, 0.5, math.nan, 0.1, 0.3], columns=3, cell=100)
    with Image.open(path) as image:
        # Two pixels for each unit: margins of 14, three cells of 100 with gaps of 8; rows of 80 + 40.
        assert image.size == (2 * (2 * 14 + 3 * 100 + 2 * 8), 2 * (2 * 14 + 2 * 120 + 8))
    assert ink(path) > 0.02
    assert ink(draw_molecule_grid([], tmp_path / "empty.png", title="Novel molecules")) > 0.003
    with pytest.raises(ValueError, match="one for each"):
        draw_molecule_grid(["C"], path, values=[])
    with pytest.raises(ValueError, match="columns"):
        draw_molecule_grid(["C"], path, columns=0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0, 1.0], ["3", "1"]),
        ([0.0, 0.0], ["0", "0"]),
        ([0.57, 0.5551], ["0.570", "0.555"]),
        ([12.34, 5.0], ["12.3", "5.0"]),
        ([math.nan, 1.5], ["–", "1.50"]),
        ([], []),
    ],
)
def test_values_are_written_with_three_digits(values: list[float], expected: list[str]) -> None:
    from discrete_diffusion.eval.plots.molecule_grid import _format

    assert _format(values) == expected
