from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from PIL import Image

from discrete_diffusion.eval.plots.image_grid import draw_image_grid, pixel_image

RED, BLUE = (255, 0, 0), (0, 0, 255)


def colors(image: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}


def test_pixels_become_equal_squares() -> None:
    picture = np.asarray(pixel_image(np.array([[RED, BLUE]], dtype=np.uint8), (7, 5)))
    assert picture.shape == (5, 7, 3)
    # Squares of three pixels, in the middle of the sheet.
    assert (picture[1:4, 0:3] == RED).all()
    assert (picture[1:4, 3:6] == BLUE).all()
    assert (picture[[0, 4]] == 255).all()
    gray = np.asarray(pixel_image(np.array([[[0], [128]], [[255], [7]]], dtype=np.uint8), (4, 4)))
    assert gray[::2, ::2, 0].tolist() == [[0, 128], [255, 7]]
    assert (gray[..., 0] == gray[..., 2]).all()


def test_images_larger_than_the_sheet_are_averaged() -> None:
    checks = np.indices((8, 8)).sum(0)[..., None].astype(np.uint8) % 2 * 200
    small = np.asarray(pixel_image(checks, (2, 2)))
    assert (small == 100).all()
    with pytest.raises(ValueError, match="Expected images of 1 or 3 channels, got 2"):
        pixel_image(np.zeros((2, 2, 2), np.uint8), (4, 4))


def test_a_grid_of_groups(tmp_path: Path) -> None:
    groups = {
        "red": np.full((5, 2, 2, 3), RED, np.uint8),
        "blue": np.full((2, 2, 2, 3), BLUE, np.uint8),
        "empty": np.zeros((0, 2, 2, 3), np.uint8),
    }
    path = draw_image_grid(groups, tmp_path / "deep" / "grid.png", columns=3, cell=20, title="Images")
    with Image.open(path) as image:
        assert {RED, BLUE} <= colors(image)
        pixels = np.asarray(image.convert("RGB"))
        assert (pixels == RED).all(-1).sum() == 5 * 40 * 40
        assert (pixels == BLUE).all(-1).sum() == 2 * 40 * 40
        # Blue stands to the right of red.
        assert (pixels == RED).all(-1).nonzero()[1].max() < (pixels == BLUE).all(-1).nonzero()[1].min()


def test_captions_take_room(tmp_path: Path) -> None:
    groups = {"digits": np.zeros((4, 2, 2, 1), np.uint8)}
    plain = draw_image_grid(groups, tmp_path / "plain.png", columns=2)
    captioned = draw_image_grid(
        groups, tmp_path / "captioned.png", columns=2, captions={"digits": ["0", "1", "2", "3"]}
    )
    with Image.open(plain) as first, Image.open(captioned) as second:
        assert first.width == second.width
        assert second.height > first.height
    with pytest.raises(ValueError, match="Expected 4 `captions` of 'digits', got 1"):
        draw_image_grid(groups, tmp_path / "bad.png", captions={"digits": ["0"]})
    with pytest.raises(ValueError, match="Expected at least 1 group and `columns` >= 1, got 0 and 8"):
        draw_image_grid({}, tmp_path / "bad.png")
