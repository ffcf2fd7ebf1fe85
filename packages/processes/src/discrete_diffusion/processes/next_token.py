"""Autoregressive models, in the shape of a denoiser."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.processes.opened import opened
from discrete_diffusion.processes.prefix_cache import KeysValues, PrefixCache
from discrete_diffusion.processes.types import Network, given


@dataclass(frozen=True)
class NextToken:
    """log p(x^l | x^1 ... x^(l-1), y): a causal network reads the sequence shifted right behind `bos_id`.

    It has a denoiser's signature, so that whatever wraps a denoiser wraps it too. Time means nothing to it; the network
    is fed sigma = 0.

    A network with `encode` and `decode` can be opened, and one with `extend` besides can be continued; over any other
    network the attributes of those names do not exist. With `extend`, a call for a single column (`at` true nowhere
    else) keeps keys and values of its prefix for the next call, which then feeds the network only what is new: sampling
    from left to right reads every token once, through any wrapper. It happens without gradients and outside training
    alone, and never changes what a call returns: where the prefix, the labels or the weights have changed, that part is
    computed again.
    """

    network: Network
    bos_id: int
    left_to_right: ClassVar[bool] = True
    _cache: PrefixCache = field(default_factory=PrefixCache, init=False, repr=False, compare=False)

    def __call__(
        self,
        x: Int[Tensor, "b l"],
        t: Float[Tensor, " b"] | None = None,
        *,
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*p v"]:
        """(b, l, v), or (n, v) for the n positions where `at` is true, in row-major order."""
        column = None if at is None or not self._remembers() else _only_column(at)
        if at is None or column is None:
            return self.network(self._shifted(x), _zeros(x), **given(y=y, at=at)).log_softmax(-1)
        hidden = self._cache.last_hidden(self.network, self._extend, self._shifted(x)[:, : column + 1], y)
        if column == x.shape[1] - 1:
            self._cache.forget()
        return self._decode(hidden, x[:, column, None], y=y, at=at[:, column, None])

    @property
    def encode(self) -> Callable[..., Tensor]:
        """`(x, t=None, *, y=None)` -> hidden (b, l, d): position i has seen bos and x[:, :i], and predicts x[:, i]."""
        opened(self.network, "encode", "decode")
        return self._encode

    @property
    def decode(self) -> Callable[..., Tensor]:
        """`(hidden, x, t=None, *, y=None, at=None)` -> log p as the call returns it."""
        opened(self.network, "encode", "decode")
        return self._decode

    @property
    def extend(self) -> Callable[..., tuple[Tensor, tuple[KeysValues, ...]]]:
        """`(tokens (b, k), past, *, y=None)` -> hidden (b, k, d) of the tokens fed, bos first, and the past with them.

        `past` is None for the empty prefix, else keys and values of each block, each (b, heads, length, head size), or
        the states of a recurrent network.
        """
        opened(self.network, "extend", "decode")
        return self._extend

    @property
    def next_token(self) -> Callable[..., Tensor]:
        """`(hidden (b, k, d), *, y=None)` -> log p (b, k, v) of the token that follows each of those fed."""
        opened(self.network, "extend", "decode")
        return self._next_token

    def _encode(
        self,
        x: Int[Tensor, "b l"],
        t: Float[Tensor, " b"] | None = None,
        *,
        y: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b l d"]:
        return opened(self.network).encode(self._shifted(x), _zeros(x), **given(y=y))

    def _decode(
        self,
        hidden: Float[Tensor, "b l d"],
        x: Int[Tensor, "b l"],
        t: Float[Tensor, " b"] | None = None,
        *,
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*p v"]:
        return opened(self.network).decode(hidden, _zeros(hidden), **given(y=y, at=at)).log_softmax(-1)

    def _extend(
        self,
        tokens: Int[Tensor, "b k"] | Float[Tensor, "b k v"],
        past: tuple[KeysValues, ...] | None,
        *,
        y: Int[Tensor, " b"] | None = None,
    ) -> tuple[Float[Tensor, "b k d"], tuple[KeysValues, ...]]:
        optional: dict[str, Any] = {} if past is None else {"past": past}
        return opened(self.network).extend(tokens, _zeros(tokens), **given(y=y), **optional)

    def _next_token(
        self, hidden: Float[Tensor, "b k d"], *, y: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b k v"]:
        return opened(self.network).decode(hidden, _zeros(hidden), **given(y=y)).log_softmax(-1)

    def _shifted(self, x: Tensor) -> Tensor:
        return torch.cat([torch.full_like(x[:, :1], self.bos_id), x[:, :-1]], 1)

    def _remembers(self) -> bool:
        # In training a network may drop units at random: what it said of a prefix before is not what it would say now.
        training = getattr(self.network, "training", False)
        return not torch.is_grad_enabled() and not training and hasattr(self, "extend")


def _zeros(like: Tensor) -> Tensor:
    return torch.zeros(len(like), device=like.device)


def _only_column(at: Tensor) -> int | None:
    columns = at.any(0).nonzero().flatten().tolist()
    return columns[0] if len(columns) == 1 else None
