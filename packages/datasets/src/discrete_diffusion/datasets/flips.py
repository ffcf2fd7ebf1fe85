"""Mirror images."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class HorizontalFlip:
    """Mirror images left to right with a given probability, as in training on CIFAR-10; mirrored digits are not digits.

    Args:
        height: Rows of an image, whose pixels are flattened row by row, channels last.
        width: Pixels in a row.
        channels: Tokens in a pixel.

    Raises:
        ValueError: If `probability` is not in [0, 1].
    """

    tokenizer: PreTrainedTokenizerBase
    height: int
    width: int
    channels: int = 1
    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"Expected 0 <= `probability` <= 1, got {self.probability}.")

    def __call__(self, x0: Tensor, generator: Generator) -> Tensor:
        """Return images of the same shape, (b, h * w * c).

        Raises:
            ValueError: If the sequences have another length.
        """
        shape = (self.height, self.width, self.channels)
        if x0.shape[1] != self.height * self.width * self.channels:
            raise ValueError(f"Expected images of {' x '.join(map(str, shape))} tokens, got {x0.shape[1]} tokens.")
        mirrored = x0.unflatten(1, shape).flip(2).flatten(1)
        drawn = torch.rand(len(x0), 1, generator=generator, device=generator.device).to(x0.device)
        return torch.where(drawn < self.probability, mirrored, x0)

    def reads(self, length: int) -> int:
        """Return `length`."""
        return length
