"""What a left-to-right network has made of the tokens it was fed."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

Past = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of each block, (b, heads, tokens, head size)."""


@dataclass(frozen=True)
class Prefix:
    """The tokens fed so far (bos first) under the labels `y`, the hidden states they gave, and their past."""

    tokens: Int[Tensor, "b k"]
    y: Int[Tensor, " b"] | None
    hidden: Float[Tensor, "b k d"]
    past: Past

    def holds(self, tokens: Int[Tensor, "m n"], y: Int[Tensor, " m"] | None) -> bool:
        """Say whether it is of these tokens and labels, so that it need not be read again."""
        return _same(self.tokens, tokens) and (
            _same(self.y, y) if self.y is not None and y is not None else self.y is y
        )


def read(model: Any, tokens: Int[Tensor, "b n"], y: Int[Tensor, " b"] | None, before: Prefix | None = None) -> Prefix:
    """Feed tokens to `model.extend` behind what it has read before."""
    past = None if before is None else before.past
    hidden, past = model.extend(tokens, past) if y is None else model.extend(tokens, past, y=y)
    if before is None:
        return Prefix(tokens, y, hidden, past)
    return Prefix(torch.cat([before.tokens, tokens], 1), y, torch.cat([before.hidden, hidden], 1), past)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.device == other.device and torch.equal(one, other)
