"""Strings with free places, as tokens that a sampler holds.

`[MASK]` is one free token; `_` too, unless the model has a token `_`. `[*]`, also with a number as in `[*:1]`, is a gap
of several free tokens, unless the model has a token `[*]`. Everything else is held.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.guidance import SampleStreams
from discrete_diffusion.guidance.constraints import anything, ban

FREE = -1
"""Stands for one free token."""

_GAP = r"\[\*(?::\d+)?\]"


@dataclass(frozen=True)
class Template:
    """Tokens of a string with free places.

    Attributes:
        parts: Tokens before, between and after the gaps, `FREE` for a free one.
        start: Tokens before the string, such as `<bos>`.
        end: Token after the string, None if the model does not mark its end.
        pad: Token after the end.
        gap: Smallest and largest number of tokens in a gap.
        length: Tokens in each sequence.
        vocab_size: Tokens of the model.
        special_ids: Tokens that no free place inside the string may hold.
    """

    parts: tuple[tuple[int, ...], ...]
    start: tuple[int, ...]
    end: int | None
    pad: int | None
    gap: tuple[int, int]
    length: int
    vocab_size: int
    special_ids: frozenset[int]

    @property
    def is_open(self) -> bool:
        """Whether the string ends with a gap, which goes on to the end that the model chooses."""
        return len(self.parts) > 1 and not self.parts[-1]

    @property
    def is_beginning(self) -> bool:
        """Whether all free places come after the held ones, so that a left-to-right model is exact."""
        return self.is_open and len(self.parts) == 2 and FREE not in self.parts[0]

    @property
    def gaps(self) -> int:
        """Number of gaps inside the string."""
        return len(self.parts) - 1 - self.is_open

    @property
    def room(self) -> int:
        """Largest number of tokens in all gaps together."""
        closed = not self.is_open and self.end is not None
        return self.length - len(self.start) - sum(map(len, self.parts)) - closed

    def sizes(self, generator: SampleStreams | torch.Generator | None, count: int) -> list[tuple[int, ...]]:
        """Draw the number of tokens in each gap, for each sample: uniform over the numbers in `gap` that fit."""
        return self.sizes_of(_drawn(generator, count, self.gaps))

    def sizes_of(self, uniform: Float[Tensor, "n g"]) -> list[tuple[int, ...]]:
        """Return the number of tokens in each gap for uniform numbers, one for each sample and gap."""
        low, high = self.gap
        drawn = []
        for row in uniform.tolist():
            room, sizes = self.room - self.gaps * low, []
            for u in row:
                sizes.append(low + int(u * (1 + min(high - low, room))))
                room -= sizes[-1] - low
            drawn.append(tuple(sizes))
        return drawn

    def groups(
        self,
        generator: SampleStreams | torch.Generator | None,
        count: int,
        allowed: Bool[Tensor, "l v"] | None = None,
    ) -> Iterator[tuple[Int[Tensor, " n"], Int[Tensor, "n l"], Bool[Tensor, "l v"]]]:
        """Yield the samples with gaps of the same sizes: their positions, their `clamp` and their `allowed` tokens.

        Args:
            generator: Source of the sizes of gaps.
            count: Number of samples.
            allowed: Tokens that a free position may hold.
        """
        yield from self.groups_of(self.sizes(generator, count), allowed)

    def groups_of(
        self, sizes: Sequence[tuple[int, ...]], allowed: Bool[Tensor, "l v"] | None
    ) -> Iterator[tuple[Int[Tensor, " n"], Int[Tensor, "n l"], Bool[Tensor, "l v"]]]:
        """Yield the samples with gaps of the same sizes, as `groups` does, for the sizes of each sample."""
        for own in sorted(set(sizes)):
            rows = torch.tensor([row for row, size in enumerate(sizes) if size == own])
            clamp, inside = self._tokens(own)
            free = anything(self.length, self.vocab_size)
            free[inside] = ban(self.special_ids, 1, self.vocab_size)
            if allowed is not None:
                free &= allowed.cpu() | (clamp != FREE)[:, None]
            yield rows, clamp.expand(len(rows), -1), free

    def _tokens(self, sizes: tuple[int, ...]) -> tuple[Int[Tensor, " l"], Bool[Tensor, " l"]]:
        """Return the token of each position, and whether it is a free one inside the string."""
        tokens = list(self.start)
        for part, size in zip(self.parts, (*sizes, 0), strict=False):
            tokens += [*part, *[FREE] * size]
        inside = len(tokens)
        if not self.is_open and self.end is not None and self.pad is not None:
            tokens += [self.end, *[self.pad] * (self.length - inside - 1)]
        tokens += [FREE] * (self.length - len(tokens))
        clamp = torch.tensor(tokens)
        return clamp, (clamp == FREE) & (torch.arange(self.length) < inside)


@dataclass(frozen=True)
class Alternatives:
    """Several strings with free places, of which each sample fills one, drawn uniformly."""

    templates: tuple[Template, ...]

    @property
    def is_beginning(self) -> bool:
        """Whether all free places come after the held ones, so that a left-to-right model is exact."""
        return all(template.is_beginning for template in self.templates)

    def groups(
        self,
        generator: SampleStreams | torch.Generator | None,
        count: int,
        allowed: Bool[Tensor, "l v"] | None = None,
    ) -> Iterator[tuple[Int[Tensor, " n"], Int[Tensor, "n l"], Bool[Tensor, "l v"]]]:
        """Yield the samples with the same template and gaps of the same sizes, as `Template.groups` does."""
        uniform = _drawn(generator, count, 1 + max(template.gaps for template in self.templates))
        choice = (uniform[:, 0] * len(self.templates)).long()
        for number, template in enumerate(self.templates):
            rows = (choice == number).nonzero()[:, 0]
            for own, clamp, free in template.groups_of(
                template.sizes_of(uniform[rows, 1 : 1 + template.gaps]), allowed
            ):
                yield rows[own], clamp, free


def read_templates(
    texts: str | Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    layout: Mapping[str, Any],
    gap: tuple[int, int] = (1, 10),
) -> Template | Alternatives:
    """Read a string with free places, or several of which each sample fills one; see `read_template`.

    Raises:
        ValueError: If there is no string, or as in `read_template`.
    """
    if isinstance(texts, str):
        return read_template(texts, tokenizer, length, layout, gap)
    if not texts:
        raise ValueError("Expected at least one text, got none.")
    templates = tuple(read_template(text, tokenizer, length, layout, gap) for text in texts)
    return templates[0] if len(templates) == 1 else Alternatives(templates)


def read_template(
    text: str,
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    layout: Mapping[str, Any],
    gap: tuple[int, int] = (1, 10),
) -> Template:
    """Read a string with free places.

    Args:
        text: The string.
        tokenizer: Tokenizer of the model.
        length: Tokens in each sequence of the model.
        layout: Settings of the layout of the model's data.
        gap: Smallest and largest number of tokens in a gap.

    Raises:
        ValueError: If there is no free place, the string is too long, a token is unknown, or `gap` is no range.
    """
    parts = tokens_of(text, tokenizer, "a text")
    if len(parts) == 1 and FREE not in parts[0]:
        raise ValueError(f"Expected a free place in the text, `[*]` for a gap or `[MASK]` for one token, got {text!r}.")
    low, high = gap
    if not all(isinstance(size, int) and not isinstance(size, bool) for size in gap) or not 0 <= low <= high:
        raise ValueError(f"Expected whole numbers 0 <= smallest <= largest in `gap`, got {tuple(gap)}.")
    wrapped = str(layout.get("_target_", "")).endswith(".Wrapped")
    ends = layout.get("special_tokens", True) and not wrapped and tokenizer.pad_token_id is not None
    start = (tokenizer.bos_token_id,) * first_position(tokenizer, layout)
    template = Template(
        tuple(map(tuple, parts)),
        start,
        tokenizer.eos_token_id if ends else None,
        tokenizer.pad_token_id if ends else None,
        (low, high),
        length,
        len(tokenizer),
        frozenset(tokenizer.all_special_ids),
    )
    if template.room < template.gaps * low:
        least = length - template.room + template.gaps * low
        raise ValueError(f"Expected a text that fits the model's {length} tokens, got {least}: {text!r}.")
    return template


def tokens_of(text: str, tokenizer: PreTrainedTokenizerBase, name: str) -> list[list[int]]:
    """Return the tokens before, between and after the gaps of a string, `FREE` for each free one.

    Args:
        text: The string.
        tokenizer: Tokenizer of the model.
        name: Name of the string in messages, with its article.

    Raises:
        ValueError: If the model does not know a token.
    """
    vocabulary = tokenizer.get_vocab()
    single = r"\[MASK\]" if "_" in vocabulary else r"\[MASK\]|_"
    gaps = [text] if "[*]" in vocabulary else re.split(_GAP, text)
    return [_held(re.split(single, part), tokenizer, text, name) for part in gaps]


def first_position(tokenizer: PreTrainedTokenizerBase, layout: Mapping[str, Any]) -> int:
    """Return the position of a string's first token: 1 after `<bos>`, 0 for sequences without it."""
    return int(layout.get("special_tokens", True) and tokenizer.bos_token_id is not None)


def _drawn(generator: SampleStreams | torch.Generator | None, count: int, columns: int) -> Float[Tensor, "n c"]:
    """Draw uniform numbers, one row for each sample, apart from those of the sampler."""
    if not columns:
        return torch.empty((count, 0), dtype=torch.float64)
    if isinstance(generator, SampleStreams):
        return generator.apart().uniform((count, columns))
    return torch.rand((count, columns), generator=generator, dtype=torch.float64)


def _held(pieces: list[str], tokenizer: PreTrainedTokenizerBase, text: str, name: str) -> list[int]:
    # Byte-level BPE puts the blank before a word into the word's token.
    blank_begins_words = "Ġ" in tokenizer.get_vocab()
    tokens: list[int] = []
    for index, piece in enumerate(pieces):
        if blank_begins_words and index + 1 < len(pieces):
            piece = piece.removesuffix(" ")
        tokens += [FREE] * bool(index)
        if not piece:
            continue
        unknown = f"Expected {name} of tokens that the model knows, got {piece!r} in {text!r}."
        try:
            ids = tokenizer(piece, add_special_tokens=False)["input_ids"]
        except Exception as error:  # the library's own class, for a tokenizer without a token for unknown symbols
            raise ValueError(unknown) from error
        if tokenizer.unk_token_id in ids:
            raise ValueError(unknown)
        tokens += ids
    return tokens
