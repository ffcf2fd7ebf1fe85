"""Which tokens may stand where: (l, v) tables for `Allowed`, combined with `&`, `|` and `~`.

A kernel's latents may hold the mask beside what the data may: `allowed | ~ban([mask_id], length, vocab_size)`.
"""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Bool
from torch import Tensor


def anything(length: int, vocab_size: int) -> Bool[Tensor, "l v"]:
    """Every token at every position."""
    return torch.ones(length, vocab_size, dtype=torch.bool)


def ban(tokens: Iterable[int], length: int, vocab_size: int) -> Bool[Tensor, "l v"]:
    """Every token but these, at every position."""
    allowed = anything(length, vocab_size)
    allowed[:, _checked(tokens, vocab_size, "token")] = False
    return allowed


def only(tokens: Mapping[int, Iterable[int]], length: int, vocab_size: int) -> Bool[Tensor, "l v"]:
    """At each position that `tokens` names these tokens alone; at the others every token."""
    allowed = anything(length, vocab_size)
    for position in _checked(tokens, length, "position"):
        allowed[position] = False
        allowed[position, _checked(tokens[position], vocab_size, "token")] = True
    return allowed


def exact_length(
    n: int,
    length: int,
    vocab_size: int,
    *,
    eos_id: int,
    pad_id: int,
    bos_id: int | None = None,
    special_ids: Iterable[int] = (),
) -> Bool[Tensor, "l v"]:
    """Sequences of exactly n tokens: n that are not special, then `eos_id`, then `pad_id` to the end.

    With a `bos_id` that stands first and is not counted, so that the end is at position n + 1, else at n.

    Args:
        n: how many tokens before the end, in [0, length - 1], or length - 2 behind a `bos_id`.
        length: of the whole sequence.
        vocab_size: of the last axis.
        eos_id: what ends a sequence.
        pad_id: what follows it.
        bos_id: what every sequence begins with, None if there is no such token.
        special_ids: what may not stand among the n tokens beside these three (a mask, an unknown).
    """
    first = 0 if bos_id is None else 1
    if not 0 <= n <= length - first - 1:
        raise ValueError(f"Expected 0 <= `n` <= {length - first - 1} so that the end fits into {length}, got {n}.")
    specials = {eos_id, pad_id, *special_ids, *([] if bos_id is None else [bos_id])}
    end = first + n
    fixed = {end: [eos_id], **{position: [pad_id] for position in range(end + 1, length)}}
    if bos_id is not None:
        fixed[0] = [bos_id]
    free = anything(length, vocab_size)
    free[first:end] = ban(specials, n, vocab_size)
    return free & only(fixed, length, vocab_size)


def _checked(indices: Iterable[int], size: int, name: str) -> list[int]:
    indices = list(indices)
    for index in indices:
        if not 0 <= index < size:
            raise ValueError(f"Expected 0 <= {name} < {size}, got {index}.")
    return indices
