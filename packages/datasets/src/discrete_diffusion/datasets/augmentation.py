"""Random changes of training sequences, drawn anew each time."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor
from transformers import PreTrainedTokenizerBase


class Augmentation(Protocol):
    """Random change of a batch of token ids that keeps its probability, applied to training data only."""

    def __call__(self, x0: Tensor, generator: Generator) -> Tensor:
        """Return a batch (b, l) for a batch (b, l'), int64, with random numbers from `generator`, on its own device."""
        ...

    def reads(self, length: int) -> int:
        """Return the length of the input sequences for outputs of `length` tokens."""
        ...


@dataclass(frozen=True)
class RandomCrop:
    """Random window of `length` tokens of a sequence of 2 `length` - 1 tokens.

    Cut at every `length` tokens of a text, such sequences hold each of its windows exactly once, so that all of them
    are equally likely.
    """

    tokenizer: PreTrainedTokenizerBase

    def __call__(self, x0: Tensor, generator: Generator) -> Tensor:
        """Return windows (b, l) of sequences (b, 2 l - 1)."""
        length = (x0.shape[1] + 1) // 2
        start = torch.randint(length, (len(x0), 1), generator=generator, device=generator.device).to(x0.device)
        return x0.gather(1, start + torch.arange(length, device=x0.device))

    def reads(self, length: int) -> int:
        """Return 2 `length` - 1."""
        return 2 * length - 1
