"""Hard constraints."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.normalize import normalize
from discrete_diffusion.guidance.protocols import Model, evaluate


# Tensors have no equality that is a single truth value.
@dataclass(frozen=True, eq=False)
class Allowed:
    """Leave each position its allowed tokens alone: log p(v) + const for v allowed, -inf for all others.

    Around a denoiser no forbidden token is ever predicted; the noise of a latent is not its concern. Around a kernel no
    forbidden token is ever drawn, latents included: an absorbing kernel must be allowed the mask. Around a
    left-to-right model the two are one. Samples obey in each case, in any number of steps.

    The law is not p(x_0 | x_0 allowed): each prediction knows its own position's constraint and not those of what is
    still noise. For that, give `Particles` a reward which is -inf where a sequence is not allowed.

    Where the base has no probability on any allowed token, as on a forbidden token that was carried over from a
    clamp, the row is -inf throughout, and `sample_categorical` says so.

    Args:
        base: a denoiser or a kernel.
        allowed: true where a token may stand, (l, v) for all sequences or (b, l, v) for each its own. The latter
            belongs outermost, since wrappers may call what they wrap with other numbers of rows. `constraints` makes
            the former.
    """

    base: Model
    allowed: Bool[Tensor, "..."]

    def __post_init__(self) -> None:
        if self.allowed.ndim not in (2, 3):
            raise ValueError(f"Expected `allowed` of shape (l, v) or (b, l, v), got {tuple(self.allowed.shape)}.")
        stuck = (~self.allowed.any(-1)).nonzero()
        if len(stuck):
            row = f" of row {int(stuck[0, 0])}" if self.allowed.ndim == 3 else ""
            raise ValueError(
                f"Expected an allowed token at every position, got none at position {int(stuck[0, -1])}{row}."
            )

    def __call__(
        self,
        xt: Int[Tensor, "b l"],
        /,
        *times: Float[Tensor, " b"],
        y: Int[Tensor, " b"] | None = None,
        at: Bool[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "*rows v"]:
        """Return the log-probabilities of the allowed tokens, -inf for the others."""
        if self.allowed.shape[:-1] not in (xt.shape, xt.shape[1:]):
            raise ValueError(
                f"Expected tokens of shape {'(b, l)' if self.allowed.ndim == 3 else '(., l)'} = "
                f"{tuple(self.allowed.shape[:-1])} as `allowed` has, got {tuple(xt.shape)}."
            )
        log_probs = evaluate(self.base, xt, *times, y=y, at=at)
        if log_probs.shape[-1] != self.allowed.shape[-1]:
            raise ValueError(
                f"Expected a vocabulary of {self.allowed.shape[-1]} as `allowed` has, got {log_probs.shape[-1]}."
            )
        allowed = self.allowed.to(xt.device).expand(*xt.shape, -1)
        return normalize(log_probs.masked_fill(~(allowed if at is None else allowed[at]), -math.inf))


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
