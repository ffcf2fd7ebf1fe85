"""Images as rows of a data set."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

import datasets


def pixel_rows(images: np.ndarray, **columns: Sequence[str]) -> datasets.Dataset:
    """Return rows with a column `pixels`, lists of h * w * c levels, and other columns.

    Pixels are ordered row by row, and the channels of a pixel are adjacent: level (i, j, k) is number
    (i * w + j) * c + k. The code of arXiv 2412.10193 orders them as (c, h, w), one
    channel after another, so that its checkpoints and its left-to-right models use another order.

    Args:
        images: Levels, uint8 (n, h, w, c).
        **columns: Other columns, by name.
    """
    n, size = len(images), int(np.prod(images.shape[1:]))
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * size)
    pixels = pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(images).reshape(-1)))
    others = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    return datasets.Dataset(datasets.table.InMemoryTable(pa.table({"pixels": pixels, **others})))
