"""Cache of the last prefix read by a causal network."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discrete_diffusion.processes.protocols import Condition, Past


@dataclass(frozen=True)
class _Prefix:
    tokens: Int[Tensor, "b l"]
    y: Condition | None
    weights: tuple[int, ...]
    past: Past


class PrefixCache:
    """Keys and values of the last prefix, reused by the next call as far as the prefixes agree.

    Keys and values can be truncated to a shorter prefix. The state of a recurrent network cannot: it is reused only if
    the new tokens extend its whole prefix; otherwise all tokens are read again.

    The cache affects only the cost of a call. It compares tokens and labels with the cached ones, row by row, and the
    version counters of a module's parameters. If you change weights without changing these counters (through
    `parameter.data`, or inside a plain function), create a new cache.
    """

    def __init__(self) -> None:
        self._last: _Prefix | None = None

    def last_hidden(
        self,
        network: object,
        extend: Callable[..., tuple[Tensor, Past]],
        tokens: Int[Tensor, "b l"],
        y: Condition | None,
    ) -> Float[Tensor, "b 1 d"]:
        """Return the hidden state at the last token; `extend(tokens, past, y=)` reads the new tokens."""
        weights = versions(network)
        known = self._known(tokens, y, weights)
        past = None if self._last is None or not known else _cut(self._last, known)
        hidden, past = extend(tokens if past is None else tokens[:, known:], past, y=y)
        self._last = _Prefix(tokens, None if y is None else y.clone(), weights, past)
        return hidden[:, -1:]

    def forget(self) -> None:
        """Clear the cache."""
        self._last = None

    def _known(self, tokens: Tensor, y: Tensor | None, weights: tuple[int, ...]) -> int:
        """Return the number of leading tokens to reuse; the last token is always read, for its hidden state."""
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


def _cut(last: _Prefix, known: int) -> Past | None:
    if known == last.tokens.shape[1]:
        return last.past
    if not all(state.ndim == 4 for block in last.past for state in block):
        return None
    return tuple((keys[:, :, :known], values[:, :, :known]) for keys, values in last.past)


def _same(old: Tensor | None, new: Tensor | None) -> bool:
    if old is None or new is None:
        return old is new
    return old.device == new.device and torch.equal(old, new)


def versions(network: object) -> tuple[int, ...]:
    """Return the version counters of a module's parameters, and nothing for other functions."""
    if not isinstance(network, torch.nn.Module):
        return ()
    # Inference tensors have no version counter and cannot be changed outside inference mode.
    return tuple(0 if p.is_inference() else p._version for p in network.parameters())
