"""Cache of the prefixes read by a causal classifier that scores candidates for the next token."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.processes.prefix_cache import versions
from discrete_diffusion.processes.protocols import PrefixNetwork, PrefixPast


@dataclass(frozen=True)
class _Prefixes:
    tokens: Int[Tensor, "m j"]
    past: PrefixPast


class CandidateCache:
    """Pasts of the prefixes of the last step, from which a network scores the candidates of the next one.

    Rows that differ in their last token alone, in ascending order, are candidates for one prefix. Each is then read as
    one token, and so is the token that has been drawn since the last step.

    The cache affects only the cost of a call. It compares prefixes with the cached ones, and the version counters of a
    module's parameters; prefixes that are not in the cache are read from their start.
    """

    def __init__(self) -> None:
        self._forget(())

    def scores(
        self, network: object, x: Int[Tensor, "n l"] | Float[Tensor, "n l d"], t: Float[Tensor, " n"]
    ) -> Float[Tensor, "n o"] | None:
        """Return the outputs for every row, or None if the whole rows should be read.

        t = 0 is the last step, whose prefixes are not kept.
        """
        if not isinstance(network, PrefixNetwork) or not network.causal or not _reusable(network, x):
            return None
        prefixes, group, rank = _candidates(x)
        most = int(rank.max()) + 1
        # Reading a prefix pays if it has several candidates, and unless padding to the same number costs more tokens.
        if 2 * len(prefixes) > len(x) or len(prefixes) * (1 + most) > x.numel():
            return None
        tokens = x.new_zeros(len(prefixes), most).index_put_((group, rank), x[:, -1])
        if (weights := versions(network)) != self._weights:
            self._forget(weights)
        past, known = self._past(prefixes)
        outputs, past = network.candidates(prefixes[:, known:], tokens, t.new_zeros(len(prefixes)), past)
        if bool(t.any()):
            self._children.append(_Prefixes(prefixes, past))
        return outputs[group, rank]

    def _forget(self, weights: tuple[int, ...]) -> None:
        self._weights = weights
        self._parents: list[_Prefixes] = []
        self._children: list[_Prefixes] = []

    def _past(self, prefixes: Int[Tensor, "m l"]) -> tuple[PrefixPast | None, int]:
        """Return the past of the known part of the prefixes, and its length."""
        length = prefixes.shape[1]
        if self._children and self._children[0].tokens.shape[1] != length:
            self._parents, self._children = self._children, []
        if self._parents and self._parents[0].tokens.shape[1] != length - 1:
            self._parents = []
        # A step may come in several parts. Calls that repeat a step start its record again.
        if _rows(self._children) + len(prefixes) > 2 * _rows(self._parents):
            self._children = []
        if not self._parents or self._parents[0].tokens.device != prefixes.device:
            return None, 0
        for part in self._parents:
            if torch.equal(part.tokens, prefixes[:, :-1]):
                return part.past, length - 1
        tokens = torch.cat([part.tokens for part in self._parents])
        number = torch.cat([tokens, prefixes[:, :-1]]).unique(dim=0, return_inverse=True)[1]
        row = number.new_full((len(number),), -1)
        row[number[: len(tokens)]] = torch.arange(len(tokens), device=row.device)
        rows = row[number[len(tokens) :]]
        if bool((rows < 0).any()):
            return None, 0
        parts = [part.past for part in self._parents]
        return tuple(
            tuple(torch.cat(states)[rows] for states in zip(*block, strict=True)) for block in zip(*parts, strict=True)
        ), length - 1


def _rows(parts: list[_Prefixes]) -> int:
    return sum(len(part.tokens) for part in parts)


def _reusable(network: object, x: Tensor) -> bool:
    # Dropout makes the outputs of a network in training random, so they cannot be reused.
    training = isinstance(network, torch.nn.Module) and network.training
    return not torch.is_grad_enabled() and not training and x.ndim == 2 and len(x) > 0 and not x.is_floating_point()


def _candidates(x: Int[Tensor, "n l"]) -> tuple[Int[Tensor, "m p"], Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Return the prefixes, and for each row the index of its prefix and its rank among the candidates for it."""
    follows: Bool[Tensor, " n"] = (x[1:, :-1] == x[:-1, :-1]).all(1) & (x[1:, -1] > x[:-1, -1])
    first = torch.cat([follows.new_zeros(1), follows]).logical_not()
    group = first.cumsum(0) - 1
    start = first.nonzero()[:, 0]
    return x[start, :-1], group, torch.arange(len(x), device=x.device) - start[group]
