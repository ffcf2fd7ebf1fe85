"""Layouts of tokenized strings as sequences of one length."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from transformers import PreTrainedTokenizerBase

LONGEST = 2**20
"""Largest length of sequences."""


class Ragged(NamedTuple):
    """Concatenated token ids of strings: string i is ids[ends[i - 1] : ends[i]]."""

    ids: np.ndarray
    ends: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each string."""
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
    """Arrangement of tokens in sequences of one length."""

    @property
    def special_tokens(self) -> bool:
        """Whether the tokenizer puts its special tokens around each string."""
        ...

    @property
    def truncates(self) -> bool:
        """Whether strings are cut to the requested length."""
        ...

    def __call__(self, tokens: Ragged, length: int | None, tokenizer: PreTrainedTokenizerBase) -> Sequences:
        """Arrange tokens in sequences of `length`, by default the shortest that fits all strings.

        Raises:
            ValueError: If they cannot be arranged.
        """
        ...


@dataclass(frozen=True)
class Padded:
    """One sequence for each string, padded with `<pad>`, which is modeled like any other token.

    Args:
        longer: Treatment of longer strings: an error, or they are dropped or truncated.
        special_tokens: Whether `<bos>` and `<eos>` surround the string.

    Raises:
        ValueError: If `longer` is none of the three.
    """

    longer: Literal["refuse", "drop", "truncate"] = "refuse"
    special_tokens: bool = True

    def __post_init__(self) -> None:
        if self.longer not in ("refuse", "drop", "truncate"):
            raise ValueError(f"Expected `longer` to be refuse, drop or truncate, got {self.longer!r}.")

    @property
    def truncates(self) -> bool:
        """Whether strings are truncated."""
        return self.longer == "truncate"

    def __call__(self, tokens: Ragged, length: int | None, tokenizer: PreTrainedTokenizerBase) -> Sequences:
        """Return one row for each string that fits.

        Raises:
            ValueError: If a string is too long, none fits, or there is no `<pad>` to fill up a shorter one.
        """
        lengths = tokens.lengths
        longest = int(lengths.max(initial=0))
        length = longest if length is None else length
        if length > LONGEST:
            raise ValueError(
                f"Expected sequences of at most {LONGEST:,} tokens, got one of {longest:,}: choose a shorter "
                "`length`, with `longer=drop` or `longer=truncate`."
            )
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
    """Concatenation of all strings, each followed by `<eos>`, cut into blocks `<bos> tokens <eos>`.

    Tokens at the end that do not fill a block are left over. This is how MDLM (arXiv 2406.07524) lays out what it calls
    wrapped data. Perplexities on wrapped and on padded sentences are not comparable: a block gives its tokens the
    context of other sentences.
    """

    special_tokens: ClassVar[bool] = False
    truncates: ClassVar[bool] = False

    def __call__(self, tokens: Ragged, length: int | None, tokenizer: PreTrainedTokenizerBase) -> Sequences:
        """Return the blocks.

        Raises:
            ValueError: If `length` is missing or less than 3, the tokenizer has no `<bos>` or `<eos>`, or there are not
                enough tokens for one block.
        """
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
