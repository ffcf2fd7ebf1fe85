"""Chunks of one long text, split by position."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import datasets

PARTS = ("train", "validation", "test")
SIZES = (90_000_000, 5_000_000, 5_000_000)
"""Characters of the parts of text8."""


def chunked(text: str, chunk: int, sizes: Sequence[int], *, crops: bool) -> datasets.DatasetDict:
    """Split a text into train, validation and test, in this order, and cuts each into rows of `chunk` characters.

    Rows do not overlap, and the rest at the end of a part is dropped.

    Args:
        text: The text.
        chunk: Characters in a row.
        sizes: Characters of the three parts, or their proportions if the text is shorter.
        crops: Whether training rows have 2 `chunk` - 1 characters and begin at every multiple of `chunk`. `RandomCrop`
            then draws each window of the text with the same probability.

    Raises:
        ValueError: If a part is too short for one row.
    """
    if chunk < 1:
        raise ValueError(f"Expected `chunk` >= 1, got {chunk}.")
    if len(sizes) != len(PARTS) or min(sizes) < 1:
        raise ValueError(f"Expected three `sizes` >= 1, of {', '.join(PARTS)}, got {list(sizes)}.")
    whole = sum(sizes)
    ends = [min(end, len(text) * end // whole) for end in accumulate(sizes, initial=0)]
    parts = {}
    for name, (start, end) in zip(PARTS, pairwise(ends), strict=True):
        width = 2 * chunk - 1 if crops and name == "train" else chunk
        rows = [text[i : i + width] for i in range(start, end - width + 1, chunk)]
        if not rows:
            raise ValueError(
                f"Expected a text of which {name}, {end - start:,} of {len(text):,} characters, has {width} at least."
            )
        parts[name] = datasets.Dataset.from_dict({"text": rows})
    return datasets.DatasetDict(parts)
