"""Figures of samples, for data that are not readable as strings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from discrete_diffusion.eval import Pixels, draw_image_grid


def image_samples(strings: Sequence[str], path: Path, *, height: int, width: int, channels: int, levels: int) -> Path:
    """Draw the strings of a pixel tokenizer that are valid images."""
    pixels = Pixels(height, width, channels, levels)
    found = [image for image in map(pixels.read, strings) if image is not None]
    images = np.stack([pixels.bytes(image) for image in found]) if found else np.empty((0, *pixels.shape), np.uint8)
    return draw_image_grid({f"{len(found)} of {len(strings)} samples are images": images}, path)
