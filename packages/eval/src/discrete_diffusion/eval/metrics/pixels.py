"""From the strings of a pixel tokenizer to images."""

from collections.abc import Collection
from dataclasses import dataclass
from math import isqrt

import numpy as np


@dataclass(frozen=True)
class Pixels:
    """The shape of an image, and how many levels a pixel has; tokens are in the order row, column, channel."""

    height: int
    width: int
    channels: int
    levels: int

    @classmethod
    def of(
        cls,
        vocabulary: Collection[str],
        length: int,
        height: int | None = None,
        width: int | None = None,
        channels: int | None = None,
    ) -> "Pixels":
        """The shape of images of `length` tokens; what is not given is that of a square, gray if it can be.

        Raises:
            ValueError: if there is no such shape, or the vocabulary has no levels.
        """
        levels = sum(token.isdecimal() for token in vocabulary)
        if levels < 2:
            raise ValueError("Expected a vocabulary of numbers, the levels of pixels.")
        guesses = (1, 3) if channels is None else (channels,)
        for guess in guesses:
            side = isqrt(length // guess)
            shape = height or length // (guess * (width or side)), width or length // (guess * (height or side)), guess
            if shape[0] * shape[1] * shape[2] == length:
                return cls(*shape, levels)
        raise ValueError(
            f"Expected images of {length} tokens, got `height` {height}, `width` {width}, `channels` {channels}: say "
            "which shape they have, as in `metrics.height=32 metrics.width=32 metrics.channels=3`."
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns, channels."""
        return self.height, self.width, self.channels

    def read(self, string: str) -> np.ndarray | None:
        """The levels (h, w, c) of a string, None where it is not as many levels, and nothing else, as an image has."""
        tokens = string.split()
        if len(tokens) != self.height * self.width * self.channels:
            return None
        known = {str(level): level for level in range(self.levels)}
        values = [known.get(token, -1) for token in tokens]
        return None if min(values) < 0 else np.array(values, dtype=np.uint8).reshape(self.shape)

    def bytes(self, levels: np.ndarray) -> np.ndarray:
        """Values from 0 to 255, uint8, as pictures have them."""
        return np.round(levels * (255 / (self.levels - 1))).astype(np.uint8)
