"""Random order of the fragments of SAFE strings."""

import re
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from transformers import PreTrainedTokenizerBase

_NUMBER = re.compile(r"%(\d\d)")
_NUMBERS = 100


@dataclass(frozen=True)
class FragmentOrder:
    """Augmentation that writes the fragments of SAFE strings in a random order, each order with the same probability.

        c1%10ccccc1.C%11C.O%11%10   ->   C%10C.O%10%11.c1%11ccccc1

    Each order stands for the same molecule. Attachment points are numbered anew, in the order in which they appear, as
    `smiles_to_safe` numbers them. Tokens of the beginning, end and padding keep their places. Strings of other
    programs, whose attachment points share numbers with ring closures, may become other molecules.

    Args:
        tokenizer: Tokenizer of SMILES symbols.

    Raises:
        ValueError: If the tokenizer has no token `.`, which separates fragments.
    """

    tokenizer: PreTrainedTokenizerBase

    def __post_init__(self) -> None:
        if "." not in self.tokenizer.get_vocab():
            raise ValueError("Expected a tokenizer with the symbol '.' between fragments: SAFE strings of several.")

    def __call__(self, x0: Tensor, generator: Generator) -> Tensor:
        """Return the rows (b, l) with their fragments in another order."""
        keys = torch.rand(x0.shape, generator=generator, device=generator.device).to(x0.device)
        ids = self.tokenizer.get_vocab()
        frame = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id)
        framing = torch.isin(x0, torch.tensor([i for i in frame if i is not None], dtype=x0.dtype, device=x0.device))
        separators = x0 == ids["."]
        fragment = separators.cumsum(1) - separators.long()  # a separator belongs to the fragment before it
        moved = _reordered(x0, fragment, separators, framing, keys, ids["."])
        return self._renumbered(x0, moved, fragment)

    def reads(self, length: int) -> int:
        """Return `length`."""
        return length

    def _renumbered(self, x0: Tensor, moved: Tensor, fragment: Tensor) -> Tensor:
        """Return `moved` with its attachment points numbered in the order in which they appear."""
        number_of, id_of = self._numbers(x0.device)
        numbers, width = number_of[x0], x0.shape[1]
        shape = len(x0), _NUMBERS
        counts = torch.zeros(shape, dtype=torch.long, device=x0.device).scatter_add(1, numbers, torch.ones_like(x0))
        # A ring closure has both ends in one fragment; an attachment point has them in two.
        last = torch.zeros(shape, dtype=torch.long, device=x0.device).scatter_reduce(1, numbers, fragment, "amax")
        first = torch.full(shape, width, device=x0.device).scatter_reduce(1, numbers, fragment, "amin")
        points = (counts == 2) & (first != last)
        points[:, 0] = False  # all other tokens
        places = torch.arange(width, device=x0.device).expand_as(x0)
        seen = torch.full(shape, width, device=x0.device).scatter_reduce(1, number_of[moved], places, "amin")
        old = seen.where(points, width).argsort(dim=1, stable=True)  # points first, in their new order
        new = (~points).long().argsort(dim=1, stable=True)  # points first, in the order of their numbers
        renamed = torch.arange(_NUMBERS, device=x0.device).expand(shape).scatter(1, old, new)
        renamed = renamed.where(points, torch.arange(_NUMBERS, device=x0.device))
        numbers = number_of[moved]
        return torch.where(numbers > 0, id_of[renamed.gather(1, numbers)], moved)

    def _numbers(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the number of each token `%NN`, 0 for every other token, and the tokens by number."""
        ids = self.tokenizer.get_vocab()
        number_of = torch.zeros(max(ids.values()) + 1, dtype=torch.long)
        id_of = torch.zeros(_NUMBERS, dtype=torch.long)
        for token, index in ids.items():
            if match := _NUMBER.fullmatch(token):
                number_of[index], id_of[int(match[1])] = int(match[1]), index
        return number_of.to(device), id_of.to(device)


def _reordered(
    x0: Tensor, fragment: Tensor, separators: Tensor, framing: Tensor, keys: Tensor, separator: int
) -> Tensor:
    """Return the rows with the fragments in the order of their keys."""
    most = int(fragment.max()) + 1
    tokens = ~framing & ~separators
    empty = torch.zeros(len(x0), most, dtype=torch.long, device=x0.device)
    lengths = empty.scatter_add(1, fragment, tokens.long())
    places = torch.arange(x0.shape[1], device=x0.device).expand_as(x0)
    starts = (empty + x0.shape[1]).scatter_reduce(1, fragment, places.where(tokens, x0.shape[1]), "amin")
    ranks = keys[:, :most].argsort(1).argsort(1)  # no two are equal
    earlier = ranks[:, None] < ranks[:, :, None]
    existing = torch.arange(most, device=x0.device) <= fragment.max(1, keepdim=True).values
    # Each earlier fragment takes its tokens and a separator.
    shifts = ((lengths + 1)[:, None] * (earlier & existing[:, None])).sum(2)
    begin = framing.long().cummin(1).values.sum(1, keepdim=True)
    to = begin + shifts.gather(1, fragment) + places - starts.gather(1, fragment)
    # Places that no token takes are those of the separators.
    moved = torch.where(framing, x0, separator)
    row = torch.arange(len(x0), device=x0.device)[:, None].expand_as(x0)
    moved[row[tokens], to[tokens]] = x0[tokens]
    return moved
