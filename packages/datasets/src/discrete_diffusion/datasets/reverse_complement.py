"""Reverse complement of DNA."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class ReverseComplement:
    """Augmentation that replaces a sequence by its reverse complement with some probability.

        x_i -> c(x_{l+1-i}),    c: A <-> T, C <-> G

    Tokens of the beginning, end and padding keep their places, and every other token, such as N, is its own complement.
    Applied twice, it changes nothing.

    Args:
        tokenizer: Tokenizer of DNA letters.
        probability: Probability that a sequence is replaced.

    Raises:
        ValueError: If `probability` is not in [0, 1], or the tokenizer lacks letters of DNA.
    """

    tokenizer: PreTrainedTokenizerBase
    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"Expected 0 <= `probability` <= 1, got {self.probability}.")
        missing = sorted(set("ACGT") - set(self.tokenizer.get_vocab()))
        if missing:
            raise ValueError(
                f"Expected a tokenizer with the letters A, C, G and T, but {', '.join(missing)} is missing."
            )

    def __call__(self, x0: Tensor, generator: Generator) -> Tensor:
        """Return the rows (b, l), some of them reversed and complemented."""
        drawn = torch.rand(len(x0), 1, generator=generator, device=generator.device).to(x0.device)
        return torch.where(drawn < self.probability, self._other_strand(x0), x0)

    def reads(self, length: int) -> int:
        """Return `length`."""
        return length

    def _other_strand(self, x0: Tensor) -> Tensor:
        ids = self.tokenizer.get_vocab()
        complement = torch.arange(max(ids.values()) + 1)
        for one, other in ("AT", "TA", "CG", "GC", "at", "ta", "cg", "gc"):
            if one in ids and other in ids:
                complement[ids[one]] = ids[other]
        known = self.tokenizer
        frame = [known.bos_token_id, known.eos_token_id, known.cls_token_id, known.sep_token_id, known.pad_token_id]
        framing = torch.isin(x0, torch.tensor([i for i in frame if i is not None], dtype=x0.dtype, device=x0.device))
        # Places of the letters in order, then those of the frame: the former are read from the last to the first.
        places = framing.to(torch.uint8).argsort(dim=1, stable=True)
        count = (~framing).sum(1, keepdim=True)
        i = torch.arange(x0.shape[1], device=x0.device).expand_as(x0)
        read = places.gather(1, torch.where(i < count, count - 1 - i, i))
        return x0.scatter(1, places, complement.to(x0.device)[x0].gather(1, read))
