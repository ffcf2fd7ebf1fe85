"""Hard constraints: tables of allowed tokens, and the model that obeys one."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discrete_diffusion.guidance.log_probs import normalize
from discrete_diffusion.guidance.protocols import Model, evaluate


# Tensors have no equality that is a single truth value.
@dataclass(frozen=True, eq=False)
class Allowed:
    """Model restricted to the allowed tokens of each position: log p(v) + const for v allowed, -inf for all others.

    Around a denoiser, no forbidden token is ever predicted, but a latent may hold one as noise. Around a kernel, no
    forbidden token is ever drawn, in latents either, so an absorbing kernel must be allowed the mask. Around a
    left-to-right model the two are the same. The samples obey in each case, in any number of steps.

    The distribution is not p(x_0 | x_0 allowed): each prediction obeys the constraint of its own position, and does not
    know those of positions that are still noise. For the exact distribution, use `Particles` with a reward of -inf
    for sequences that are not allowed.

    If the base has no probability on any allowed token of a position, such as a forbidden token from a clamp, the row
    is -inf throughout, and `sample_categorical` raises.

    Args:
        base: Denoiser or kernel.
        allowed: True for each token that may stand at a position, (l, v) for all sequences, as the functions of
            `constraints` return it, or (b, l, v) for one table per sequence. The latter belongs outermost, since
            wrappers may call their base with another number of rows.

    Raises:
        ValueError: If `allowed` has another number of axes, or a position without an allowed token.
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
        """Return the log-probabilities of the allowed tokens, -inf for the others.

        Raises:
            ValueError: If the length, the batch or the vocabulary differs from that of `allowed`.
        """
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
    """Allow every token at every position."""
    return torch.ones(length, vocab_size, dtype=torch.bool)


def ban(tokens: Iterable[int], length: int, vocab_size: int) -> Bool[Tensor, "l v"]:
    """Allow every token but these, at every position.

    Raises:
        ValueError: If a token is outside the vocabulary.
    """
    allowed = anything(length, vocab_size)
    allowed[:, _checked(tokens, vocab_size, "token")] = False
    return allowed


def only(tokens: Mapping[int, Iterable[int]], length: int, vocab_size: int) -> Bool[Tensor, "l v"]:
    """Allow, at each position in `tokens`, only its tokens; at the other positions, every token.

    Raises:
        ValueError: If a position is beyond the length, or a token outside the vocabulary.
    """
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
    """Allow sequences of exactly n tokens: n that are not special, then `eos_id`, then `pad_id` to the end.

    A `bos_id` comes first and is not counted: `eos_id` is then at position n + 1, and otherwise at position n.

    Args:
        n: Number of tokens before `eos_id`, in [0, length - 1], or [0, length - 2] with a `bos_id`.
        length: Length of the whole sequence.
        vocab_size: Size of the vocabulary.
        eos_id: Token that ends a sequence.
        pad_id: Token that fills the positions after it.
        bos_id: Token that begins every sequence, None if there is none.
        special_ids: Further tokens that may not be among the n, such as a mask.

    Raises:
        ValueError: If n tokens do not fit into `length`, or a token is outside the vocabulary.
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
