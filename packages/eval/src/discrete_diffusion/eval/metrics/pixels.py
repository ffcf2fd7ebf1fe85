"""Images of a pixel tokenizer."""

from collections.abc import Collection
from dataclasses import dataclass
from math import isqrt

import numpy as np
from jaxtyping import Integer, UInt8


class ImageShapeError(ValueError):
    """Error for images whose shape does not follow from their number of tokens."""


@dataclass(frozen=True)
class Pixels:
    """Shape of an image and number of levels of a pixel. Tokens are in the order row, column, channel.

    Args:
        height: Rows.
        width: Columns.
        channels: Channels.
        levels: Levels of a pixel.
    """

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
        """Return the shape of images of `length` tokens. By default images are square, and gray if possible.

        Args:
            vocabulary: Tokens of the tokenizer; those that are numbers are levels.
            length: Tokens of an image.
            height: Rows.
            width: Columns.
            channels: Channels.

        Raises:
            ImageShapeError: If no shape fits `length`.
            ValueError: If the vocabulary has fewer than two levels.
        """
        levels = sum(token.isdecimal() for token in vocabulary)
        if levels < 2:
            raise ValueError("Expected a vocabulary with at least two numbers, the levels of a pixel.")
        guesses = (1, 3) if channels is None else (channels,)
        for guess in guesses:
            side = isqrt(length // guess)
            shape = height or length // (guess * (width or side)), width or length // (guess * (height or side)), guess
            if shape[0] * shape[1] * shape[2] == length:
                return cls(*shape, levels)
        raise ImageShapeError(
            f"Expected images of {length} tokens, got `height` {height}, `width` {width}, `channels` {channels}, where "
            "None stands for a square image, gray or in color."
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns, channels."""
        return self.height, self.width, self.channels

    def read(self, string: str) -> UInt8[np.ndarray, "h w c"] | None:
        """Return the levels of an image from its string, or None if the string is not exactly one image."""
        tokens = string.split()
        if len(tokens) != self.height * self.width * self.channels:
            return None
        known = {str(level): level for level in range(self.levels)}
        values = [known.get(token, -1) for token in tokens]
        return None if min(values) < 0 else np.array(values, dtype=np.uint8).reshape(self.shape)

    def bytes(self, levels: Integer[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
        """Return levels as values from 0 to 255."""
        return np.round(levels * (255 / (self.levels - 1))).astype(np.uint8)
