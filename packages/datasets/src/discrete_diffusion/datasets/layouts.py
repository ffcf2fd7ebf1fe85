"""Layouts: tokenized strings as sequences of one length."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from transformers import PreTrainedTokenizerBase


class Ragged(NamedTuple):
    """Token ids of strings of any length, one after another: string i is ids[ends[i - 1] : ends[i]]."""

    ids: np.ndarray
    ends: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each string."""
        return np.diff(self.ends, prepend=0)


class Sequences(NamedTuple):
    """Sequences of one length.

    Attributes:
        ids: Token ids, (n, length).
        strings: Position of the string of each sequence; None if a sequence holds several strings.
        left_over: Positions of strings whose end is in no sequence; None if `strings` says which.
    """

    ids: np.ndarray
    strings: np.ndarray | None
    left_over: np.ndarray | None = None


class Layout(Protocol):
    """What lays tokens out, and how strings are to be tokenized for it."""

    @property
    def special_tokens(self) -> bool:
        """Whether the tokenizer puts its special tokens around each string."""
        ...

    @property
    def truncates(self) -> bool:
        """Whether it cuts each string to the length asked for."""
        ...

    def __call__(self, tokens: Ragged, length: int | None, tokenizer: PreTrainedTokenizerBase) -> Sequences:
        """Lay out; a length of None is what fits all.

        Raises:
            ValueError: if it cannot be done.
        """
        ...


@dataclass(frozen=True)
class Padded:
    """One sequence for each string, filled up with `<pad>`, which is modelled as any other token.

    Args:
        longer: what becomes of a string that is longer: it is an error, is dropped, or is truncated.
        special_tokens: whether `<bos>` and `<eos>` stand around the string.
    """

    longer: Literal["refuse", "drop", "truncate"] = "refuse"
    special_tokens: bool = True

    def __post_init__(self) -> None:
        if self.longer not in ("refuse", "drop", "truncate"):
            raise ValueError(f"Expected `longer` to be refuse, drop or truncate, got {self.longer!r}.")

    @property
    def truncates(self) -> bool:
        """Whether strings are cut."""
        return self.longer == "truncate"

    def __call__(self, tokens: Ragged, length: int | None, tokenizer: PreTrainedTokenizerBase) -> Sequences:
        """One row for each string that fits."""
        lengths = tokens.lengths
        longest = int(lengths.max(initial=0))
        length = longest if length is None else length
        fits = lengths <= length
        if not fits.all() and self.longer != "drop":
            raise ValueError(
                f"Expected every sequence to fit `length` {length}, but {(~fits).sum()} of {len(fits)} do not: "
                f"`length={longest}` fits all, `longer=drop` leaves them out and `longer=truncate` cuts them."
            )
        if fits.sum() < 1:
            raise ValueError(
                f"Expected sequences that fit `length` {length}, got none: the shortest is {lengths.min()}."
            )
        if tokenizer.pad_token_id is None and (lengths[fits] < length).any():
            raise ValueError(f"Expected a tokenizer with a padding token, or sequences of {length} tokens throughout.")
        inside = np.arange(length) < lengths[fits, None]
        padded = np.full(inside.shape, tokenizer.pad_token_id or 0, dtype=tokens.ids.dtype)
        padded[inside] = tokens.ids[np.repeat(fits, lengths)]
        return Sequences(padded, fits.nonzero()[0])


@dataclass(frozen=True)
class Wrapped:
    """All strings in a row with `<eos>` behind each, cut into blocks `<bos> tokens <eos>`.

    Tokens at the end that do not fill a block are left over. This is how MDLM (arXiv 2406.07524) lays out what it calls
    wrapped data. Perplexities on wrapped and on padded sentences do not compare: a block gives its tokens the context
    of other sentences.
    """

    special_tokens: ClassVar[bool] = False
    truncates: ClassVar[bool] = False

    def __call__(self, tokens: Ragged, length: int | None, tokenizer: PreTrainedTokenizerBase) -> Sequences:
        """Cut."""
        bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        if length is None or length < 3:
            raise ValueError(f"Expected a `length` >= 3 to cut blocks of, got {length}.")
        if bos is None or eos is None:
            raise ValueError("Expected a tokenizer with tokens that begin and end a sequence.")
        stream = np.insert(tokens.ids, tokens.ends, eos)
        blocks = len(stream) // (length - 2)
        if blocks < 1:
            raise ValueError(f"Expected tokens for at least 1 block of `length` {length}, got {len(stream)}.")
        ids = np.full((blocks, length), bos, dtype=tokens.ids.dtype)
        ids[:, 1:-1] = stream[: blocks * (length - 2)].reshape(blocks, length - 2)
        ids[:, -1] = eos
        left_over = (tokens.ends + np.arange(1, len(tokens.ends) + 1) > blocks * (length - 2)).nonzero()[0]
        return Sequences(ids, None, left_over)
