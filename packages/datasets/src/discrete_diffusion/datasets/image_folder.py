"""Folders of images."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np

import datasets
from discrete_diffusion.datasets.pixel_rows import pixel_rows

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def image_folder(
    path: str | os.PathLike[str], height: int, width: int, channels: int = 3, levels: int = 256
) -> datasets.Dataset:
    """Read images `path/CLASS/*.png` (or .jpg, .bmp, ...) with the name of the folder as their `class`.

        level = floor(value / 256 * levels),    value from 0 to 255

    Images of another size are cropped around their center and resized. `pixels` are levels in the order
    of `pixel_rows`: row, column, channel.

    Args:
        path: Folder with a subfolder for each class.
        height: Rows of an image.
        width: Pixels in a row.
        levels: Number of levels.
        channels: 1 for gray, 3 for color.

    Raises:
        ImportError: If Pillow is not installed.
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no folders with images, or an image cannot be read.
    """
    if importlib.util.find_spec("PIL") is None:
        raise ImportError("Images can be read with Pillow: install `discrete-diffusion-datasets[images]`.")
    if height < 1 or width < 1 or channels not in (1, 3) or not 2 <= levels <= 256:
        raise ValueError(
            "Expected `height` >= 1, `width` >= 1, `channels` 1 or 3 and 2 <= `levels` <= 256, got "
            f"{height}, {width}, {channels} and {levels}."
        )
    path = Path(path).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"Expected a folder of folders of images, but {path} does not exist.")
    files = sorted(one for one in path.glob("*/*") if one.suffix.lower() in SUFFIXES and one.is_file())
    if not files:
        raise ValueError(f"Expected images {path}/CLASS/*.png, one folder for each class, got none.")
    images = np.stack([_read(one, height, width, channels) for one in files])
    return pixel_rows(quantize(images, levels), **{"class": [one.parent.name for one in files]})


def quantize(values: np.ndarray, levels: int) -> np.ndarray:
    """Return values of 256 levels, uint8, with fewer levels."""
    return (values.astype(np.uint16) * levels // 256).astype(np.uint8)


def _read(path: Path, height: int, width: int, channels: int) -> np.ndarray:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            picture: Any = image.convert("L" if channels == 1 else "RGB")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height))
    return np.asarray(picture).reshape(height, width, channels)
