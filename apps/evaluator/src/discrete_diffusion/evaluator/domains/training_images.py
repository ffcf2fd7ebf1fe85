"""Training images that samples are compared with."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import torch

from discrete_diffusion.datasets import SequenceData
from discrete_diffusion.eval import Pixels


class TrainingImages:
    """Fingerprints of all training images, and at most `rows` of them, evenly spread, for distances.

    Args:
        data: Data with the training rows.
        pixels: Shape and levels of an image.
        rows: Number of images to keep.
    """

    def __init__(self, data: SequenceData, pixels: Pixels, rows: int) -> None:
        self.levels = pixels.levels
        table = data.train.select_columns("input_ids").with_format("arrow")[:]  # type: ignore[union-attr]
        ids = table.column("input_ids").combine_chunks().flatten().to_numpy()
        images = ids.astype(np.uint8).reshape(-1, *pixels.shape)
        self._known = frozenset(map(_fingerprint, images))
        self.images = images[:: -(-len(images) // rows)]

    def __contains__(self, levels: np.ndarray) -> bool:
        """Return whether any training image, kept or not, has exactly these levels."""
        return _fingerprint(levels) in self._known

    def nearest(self, images: np.ndarray) -> np.ndarray:
        """Return the index in `images` of the nearest image to each; levels (n, h, w, c) to (n,)."""
        if not len(images):
            return np.zeros(0, dtype=np.int64)
        x, known = (torch.as_tensor(one.reshape(len(one), -1)).float() for one in (images, self.images))
        # |x - k|^2 = |x|^2 - 2 x k + |k|^2, where the first term is the same for every k.
        return ((known**2).sum(1) - 2 * x @ known.T).argmin(1).numpy()

    def differences(self, images: Sequence[np.ndarray]) -> list[float]:
        """Return the root-mean-square difference of each image from the nearest, as a share of the highest level."""
        if not images:
            return []
        x = np.stack(images)
        difference = (x.astype(np.float64) - self.images[self.nearest(x)]) / (self.levels - 1)
        return np.sqrt((difference**2).mean(axis=(1, 2, 3))).tolist()


def _fingerprint(levels: np.ndarray) -> bytes:
    return blake2b(levels.tobytes(), digest_size=16).digest()
