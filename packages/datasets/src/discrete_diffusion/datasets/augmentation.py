"""Random changes of training sequences, drawn anew each time."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor
from transformers import PreTrainedTokenizerBase


class Augmentation(Protocol):
    """From a batch of token ids to one that is as likely; never used on data that a model is measured by."""

    def __call__(self, x0: Tensor, generator: Generator) -> Tensor:
        """(b, l'), int64, to (b, l); random numbers come from `generator`, on its own device."""
        ...

    def reads(self, length: int) -> int:
        """How long the sequences are that it makes `length` of."""
        ...


@dataclass(frozen=True)
class RandomCrop:
    """A window of `length` tokens that begins anywhere in the first `length` of a sequence of 2 `length` - 1.

    Cut at every `length` tokens of a text, such sequences hold each of its windows exactly once, so that all of them
    are equally likely.
    """

    tokenizer: PreTrainedTokenizerBase

    def __call__(self, x0: Tensor, generator: Generator) -> Tensor:
        """(b, 2 l - 1) to (b, l)."""
        length = (x0.shape[1] + 1) // 2
        start = torch.randint(length, (len(x0), 1), generator=generator, device=generator.device).to(x0.device)
        return x0.gather(1, start + torch.arange(length, device=x0.device))

    def reads(self, length: int) -> int:
        """Twice as many, but one."""
        return 2 * length - 1
