"""Sheet of small images, enlarged."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from discrete_diffusion.eval.plots.style import INK, MUTED, PAPER, RULE, font

_SCALE = 2  # pixels per unit of the layout, for sharp images on screens of high resolution
_MARGIN, _GAP, _HEADING, _CAPTION = 14 * _SCALE, 3 * _SCALE, 24 * _SCALE, 15 * _SCALE


def pixel_image(pixels: UInt8[np.ndarray, "h w c"], size: tuple[int, int]) -> Image.Image:
    """Return an image of `size` that shows each pixel as a square, as large as fits.

    Args:
        pixels: Image of one or three channels.
        size: Width and height in pixels.

    Raises:
        ValueError: If the image has another number of channels.
    """
    height, width, channels = pixels.shape
    if channels not in (1, 3):
        raise ValueError(f"Expected images of 1 or 3 channels, got {channels}.")
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels).convert("RGB")
    scale = min(size[0] / width, size[1] / height)
    # Squares of equal size where there is room for them.
    scale = math.floor(scale) if scale >= 1 else scale
    inner = max(round(width * scale), 1), max(round(height * scale), 1)
    enlarged = picture.resize(inner, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX)
    sheet = Image.new("RGB", size, PAPER)
    sheet.paste(enlarged, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return sheet


def draw_image_grid(
    groups: Mapping[str, UInt8[np.ndarray, "_ h w c"]],
    path: str | Path,
    *,
    captions: Mapping[str, Sequence[str]] | None = None,
    columns: int = 8,
    cell: int = 48,
    title: str = "",
) -> Path:
    """Draw groups of images side by side, each in rows under its name.

    Args:
        groups: Images by the name of their group; a group may be empty.
        path: File to write; its suffix decides the format.
        captions: Text under each image, by group; groups may be left out.
        columns: Images in a row of a group.
        cell: Width of an image; the file has two pixels per unit.
        title: Title.

    Raises:
        ValueError: If `groups` is empty, `columns` < 1, a group has not one caption per image, or images have neither
            one nor three channels.
    """
    captions = captions or {}
    if not groups or columns < 1:
        raise ValueError(f"Expected at least 1 group and `columns` >= 1, got {len(groups)} and {columns}.")
    for name, texts in captions.items():
        if len(texts) != len(groups[name]):
            raise ValueError(f"Expected {len(groups[name])} `captions` of {name!r}, got {len(texts)}.")
    side = cell * _SCALE
    step = side + _GAP, side + _GAP + (_CAPTION if captions else 0)
    rows = max(max(-(-len(images) // columns) for images in groups.values()), 1)
    across = columns * step[0] - _GAP
    heading = font(15 * _SCALE, bold=True)
    top = _MARGIN + (28 * _SCALE if title else 0)
    inner = max(len(groups) * (across + 2 * _MARGIN) - 2 * _MARGIN, math.ceil(heading.getlength(title)))
    sheet = Image.new("RGB", (2 * _MARGIN + inner, top + _HEADING + rows * step[1] - _GAP + _MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN), title, fill=INK, font=heading)
    for number, (name, images) in enumerate(groups.items()):
        left = _MARGIN + number * (across + 2 * _MARGIN)
        pen.text((left, top), name, fill=INK if images.size else MUTED, font=font(11.5 * _SCALE, bold=True))
        if not len(images):
            pen.text((left, top + _HEADING), "none", fill=MUTED, font=font(11 * _SCALE))
        for index, pixels in enumerate(images):
            row, column = divmod(index, columns)
            x, y = left + column * step[0], top + _HEADING + row * step[1]
            sheet.paste(pixel_image(pixels, (side, side)), (x, y))
            pen.rectangle((x - 1, y - 1, x + side, y + side), outline=RULE)
            if name in captions:
                middle = x + side // 2, y + side + _CAPTION // 2
                pen.text(middle, captions[name][index], fill=MUTED, font=font(8.5 * _SCALE), anchor="mm")
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target)
    return target
