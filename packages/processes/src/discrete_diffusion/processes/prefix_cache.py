"""What a causal network remembers of the prefix that it was last fed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

KeysValues = tuple[Tensor, Tensor]
"""Of one block, each (batch, heads, length, head size); or what a recurrent block remembers, of other axes."""


@dataclass(frozen=True)
class _Prefix:
    tokens: Int[Tensor, "b l"]
    y: Int[Tensor, " b"] | None
    weights: tuple[int, ...]
    past: tuple[KeysValues, ...]


class PrefixCache:
    """Keys and values of the last prefix, of which the next call takes what still holds.

    They can be cut to a shorter prefix. The state of a recurrent network cannot: it is taken where the whole of its
    prefix still holds and something follows it, and else everything is read again.

    It changes what a call costs and never what it returns: tokens and labels are compared with those remembered, row by
    row, and so are the counts of in-place changes that the parameters of a module keep. Whoever changes weights in ways
    that are not counted (`parameter.data`, or behind a plain function) makes a new cache.
    """

    def __init__(self) -> None:
        self._last: _Prefix | None = None

    def last_hidden(
        self, network: Any, extend: Callable[..., Any], tokens: Int[Tensor, "b l"], y: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b 1 d"]:
        """The hidden state at the last of `tokens`; `extend(tokens, past, y=)` is fed those that are new."""
        weights = _changes(network)
        known = self._known(tokens, y, weights)
        past = None if self._last is None or not known else _cut(self._last, known)
        hidden, past = extend(tokens if past is None else tokens[:, known:], past, y=y)
        self._last = _Prefix(tokens, None if y is None else y.clone(), weights, past)
        return hidden[:, -1:]

    def forget(self) -> None:
        """Let go of the memory."""
        self._last = None

    def _known(self, tokens: Tensor, y: Tensor | None, weights: tuple[int, ...]) -> int:
        """How many leading tokens need not be fed again: never all, since the last one's hidden state is wanted."""
        last = self._last
        if last is None or last.weights != weights:
            return 0
        if last.tokens.device != tokens.device or len(last.tokens) != len(tokens):
            return 0
        if not _same(last.y, y):
            return 0
        shared = min(last.tokens.shape[1], tokens.shape[1] - 1)
        agree = (last.tokens[:, :shared] == tokens[:, :shared]).all(0)
        return int(agree.cumprod(0).sum())


def _cut(last: _Prefix, known: int) -> tuple[KeysValues, ...] | None:
    if known == last.tokens.shape[1]:
        return last.past
    if not all(state.ndim == 4 for block in last.past for state in block):
        return None
    return tuple((keys[:, :, :known], values[:, :, :known]) for keys, values in last.past)


def _same(old: Tensor | None, new: Tensor | None) -> bool:
    if old is None or new is None:
        return old is new
    return old.device == new.device and torch.equal(old, new)


def _changes(network: Any) -> tuple[int, ...]:
    if not isinstance(network, torch.nn.Module):
        return ()
    # Inference tensors keep no count, and cannot be changed outside inference mode.
    return tuple(0 if p.is_inference() else p._version for p in network.parameters())
