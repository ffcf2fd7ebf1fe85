"""Token ids of a column, computed once and cached."""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
import tokenizers
from transformers import BatchEncoding, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from discrete_diffusion.datasets.cache import cache_folder, keep
from discrete_diffusion.datasets.layouts import Layout, Ragged
from discrete_diffusion.datasets.row_report import RowChange, RowReport, TooManyRowsDroppedError

FORMAT = 3
"""Part of every fingerprint; change it whenever this file encodes differently."""

WORTH_KEEPING = 2**20
"""Least size in bytes of a column that is cached: a smaller one is encoded in a second."""

_BATCH = 4096

_CHANGES = b"changes"
_EXAMPLES = 10

_AT_ONCE = 2**24
"""Bytes of strings that are in memory as Python's own."""

logger = logging.getLogger(__name__)


class Encoded(NamedTuple):
    """Token sequences of a column.

    Attributes:
        ids: Token ids, fixed-size lists.
        rows: Position of the row of each sequence; None if a sequence holds several rows.
        changes: Rows that are dropped, cut or altered.
    """

    ids: pa.ChunkedArray
    rows: np.ndarray | None
    changes: tuple[RowChange, ...]


class Tokens(NamedTuple):
    """Token ids of strings, with the positions of strings that lose something.

    Attributes:
        ids: Token ids.
        unknown: Strings with symbols that the tokenizer does not know.
        unreadable: Strings with such symbols if the tokenizer has no token for them; their `ids` are empty.
        cut: Strings cut to the length of the layout.
        symbols: Some of the unknown symbols.
    """

    ids: Ragged
    unknown: np.ndarray
    unreadable: np.ndarray
    cut: np.ndarray
    symbols: tuple[str, ...]


def encode(
    column: pa.ChunkedArray,
    tokenizer: PreTrainedTokenizerBase,
    layout: Layout,
    length: int | None,
    *,
    allow_unknown: bool,
) -> Encoded:
    """Encode a column of strings, or of lists of token ids.

    Rows with symbols that the tokenizer does not know are dropped, unless `allow_unknown` and the tokenizer has a token
    for them. Rows whose tokens decode to another string, such as one in lower case, are kept and counted as altered.

    The sequences of a large column are kept in the cache folder, under a fingerprint of everything that changes them:
    the column, the tokenizer, the layout and the length. They are read back as they are needed, not into memory.

    Raises:
        ValueError: If no string can be encoded, or the layout cannot lay the tokens out.
    """
    if column.nbytes < WORTH_KEEPING:
        return _opened(_encoded(column, tokenizer, layout, length, allow_unknown))
    settings = [FORMAT, layout, length, allow_unknown, tokenizers.__version__, fingerprint_of_tokenizer(tokenizer)]
    digest = hashlib.sha256(repr(settings).encode())
    # A fresh copy, because neither the chunks of the column nor the column that it is a slice of matter.
    for buffer in pa.concat_arrays(column.chunks).buffers():
        digest.update(b"-" if buffer is None else memoryview(buffer))
    path = cache_folder() / f"tokens-{digest.hexdigest()[:24]}.arrow"
    if (kept := _read(path)) is None:
        made = _encoded(column, tokenizer, layout, length, allow_unknown)
        keep(path, lambda partial: _write(made, partial))
        kept = _read(path) or made
    return _opened(kept)


def fingerprint_of_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a fingerprint of everything that a tokenizer does."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    description = (
        backend.to_str() if backend is not None else repr((type(tokenizer), sorted(tokenizer.get_vocab().items())))
    )
    return hashlib.sha256(description.encode()).hexdigest()


def tokenize(strings: Sequence[str], tokenizer: PreTrainedTokenizerBase, layout: Layout, length: int | None) -> Tokens:
    """Return the token ids of strings, and which strings lose something.

    Raises:
        ValueError: If the layout truncates and there is no `length`, or the tokenizer fails.
    """
    if layout.truncates and length is None:
        raise ValueError("Expected a `length` to truncate to.")
    parts: list[np.ndarray] = []
    lengths: list[int] = []
    unreadable: list[int] = []
    cut: list[int] = []
    for start in range(0, len(strings), _BATCH):
        batch = list(strings[start : start + _BATCH])

        def ids(batch: list[str], truncates: bool) -> BatchEncoding:
            return tokenizer(
                batch,
                add_special_tokens=layout.special_tokens,
                truncation=truncates,
                max_length=length if truncates else None,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )

        try:
            encoded = ids(batch, layout.truncates)
        except Exception as error:  # the library's own class
            known = set("".join(tokenizer.get_vocab()))
            strange = [i for i, string in enumerate(batch) if not known.issuperset(string)]
            if tokenizer.unk_token_id is not None or not strange:
                raise ValueError(f"The tokenizer cannot read these strings: {error}.") from error
            unreadable += [start + i for i in strange]
            encoded = ids([string if known.issuperset(string) else "" for string in batch], layout.truncates)
        if layout.truncates:
            if encoded.encodings is not None:
                cut += [start + i for i, one in enumerate(encoded.encodings) if one.overflowing]
            else:
                whole = ids(batch, False)["input_ids"]
                cut += [start + i for i, one in enumerate(whole) if len(one) > len(encoded["input_ids"][i])]
        lengths += [len(one) for one in encoded["input_ids"]]
        parts.append(np.fromiter((i for one in encoded["input_ids"] for i in one), dtype=_type(len(tokenizer))))
    tokens = Ragged(np.concatenate(parts), np.cumsum(lengths))
    unknown: np.ndarray = np.array(unreadable, dtype=np.int64)
    if tokenizer.unk_token_id is not None:
        places = (tokens.ids == tokenizer.unk_token_id).nonzero()[0]
        unknown = np.unique(np.searchsorted(tokens.ends, places, side="right"))
    symbols = _unknown_symbols([strings[i] for i in unknown[:_EXAMPLES]], tokenizer)
    return Tokens(tokens, unknown, np.array(unreadable, dtype=np.int64), np.array(cut, dtype=np.int64), symbols)


def decode_rows(tokenizer: PreTrainedTokenizerBase, rows: Sequence[list[int]]) -> list[str]:
    """Return the strings of token ids, without a leading `<bos>` and up to the first `<eos>`.

    Args:
        tokenizer: Tokenizer.
        rows: Token ids of each string.
    """
    inside = []
    for row in rows:
        start = 1 if row[:1] == [tokenizer.bos_token_id] else 0
        end = row.index(tokenizer.eos_token_id, start) if tokenizer.eos_token_id in row[start:] else len(row)
        inside.append(row[start:end])
    if isinstance(tokenizer, PreTrainedTokenizerFast):
        return tokenizer.backend_tokenizer.decode_batch(inside, skip_special_tokens=False)
    options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
    return [str(tokenizer.decode(row, **options)) for row in inside]


def _altered(strings: Sequence[str], tokens: Tokens, tokenizer: PreTrainedTokenizerBase) -> Iterator[tuple[int, str]]:
    """Yield the positions of strings whose tokens decode to another string, with the kind of the difference.

    Cut strings and those with unknown symbols are left out: they are counted as such.
    """
    others = {*tokens.unknown.tolist(), *tokens.unreadable.tolist(), *tokens.cut.tolist()}
    ends = [0, *tokens.ids.ends.tolist()]
    for first in range(0, len(strings), _BATCH):
        batch = range(first, min(first + _BATCH, len(strings)))
        ids = tokens.ids.ids[ends[first] : ends[batch.stop]].tolist()
        rows = [ids[ends[i] - ends[first] : ends[i + 1] - ends[first]] for i in batch]
        for i, decoded in zip(batch, decode_rows(tokenizer, rows), strict=True):
            if decoded != strings[i] and i not in others:
                yield i, _kind(strings[i], decoded)


def _kind(string: str, decoded: str) -> str:
    """Return what a tokenizer does to a string that decodes to another one."""
    if string.casefold() == decoded.casefold():
        return "changes letter case"
    one, other = ("".join(text.split()) for text in (string, decoded))
    if one == other:
        return "changes spaces"
    return "changes letter case and spaces" if one.casefold() == other.casefold() else "changes characters"


def _example(string: str, decoded: str) -> str:
    """Return both strings around their first difference."""
    length = min(len(string), len(decoded))
    first = next((i for i in range(length) if string[i] != decoded[i]), length)
    start = max(0, first - 10)
    shown = [
        "..." * (start > 0) + text[start : first + 20] + "..." * (len(text) > first + 20) for text in (string, decoded)
    ]
    return f"{shown[0]!r} becomes {shown[1]!r}"


def _encoded(
    column: pa.ChunkedArray, tokenizer: PreTrainedTokenizerBase, layout: Layout, length: int | None, allow_unknown: bool
) -> pa.Table:
    changes: list[RowChange] = []
    kept: np.ndarray | None = None
    altered: dict[str, list[int]] = {}
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        rows = max(1, _AT_ONCE * len(column) // max(column.nbytes, 1))
        starts = range(0, max(len(column), 1), rows)
        parts = []
        for start in starts:
            strings = column.slice(start, rows).to_pylist()
            parts.append(tokenize(strings, tokenizer, layout, length))
            for position, kind in _altered(strings, parts[-1], tokenizer):
                altered.setdefault(kind, []).append(start + position)
        before = np.cumsum([0, *(len(part.ids.ids) for part in parts[:-1])])
        ends = [part.ids.ends + shift for part, shift in zip(parts, before, strict=True)]
        tokens = Ragged(np.concatenate([part.ids.ids for part in parts]), np.concatenate(ends))
        unknown, unreadable, cut = (
            np.concatenate([getattr(part, name) + start for part, start in zip(parts, starts, strict=True)])
            for name in ("unknown", "unreadable", "cut")
        )
        dropped = unreadable if allow_unknown else unknown
        symbols = sorted({symbol for part in parts for symbol in part.symbols})[:_EXAMPLES]
        reason = "symbols that the tokenizer does not know" + (f" ({', '.join(symbols)})" if symbols else "")
        if len(dropped):
            changes.append(RowChange.of("dropped", reason, dropped))
            tokens, kept = _without(tokens, dropped)
        if len(cut := np.setdiff1d(cut, dropped)):
            changes.append(RowChange.of("cut", f"longer than {length} tokens", cut))
        if len(unknown := np.setdiff1d(unknown, dropped)):
            changes.append(RowChange.of("altered", f"unknown token for {reason}", unknown))
        if kept is not None and not len(kept):
            raise TooManyRowsDroppedError(RowReport(len(column), tuple(changes)).describe())
    else:
        tokens = _given(column, len(tokenizer))
    ids, rows, left_over = layout(tokens, length, tokenizer)
    if left_over is not None and len(left_over):
        reason = f"the end of the text does not fill a block of {length} tokens"
        changes.append(RowChange.of("cut", reason, left_over if kept is None else kept[left_over]))
    if rows is not None and len(rows) < len(tokens.ends):
        long = np.setdiff1d(np.arange(len(tokens.ends)), rows)
        changes.append(
            RowChange.of("dropped", f"longer than {ids.shape[1]} tokens", long if kept is None else kept[long])
        )
    columns = {"input_ids": pa.FixedSizeListArray.from_arrays(pa.array(ids.ravel()), ids.shape[1])}
    used = rows if rows is None or kept is None else kept[rows]
    if used is not None:
        columns["row"] = pa.array(used)
    for kind, found in altered.items():
        positions = np.array(found) if used is None else np.intersect1d(found, used)
        if len(positions):
            string = column[int(positions[0])].as_py()
            (decoded,) = decode_rows(tokenizer, [tokenize([string], tokenizer, layout, length).ids.ids.tolist()])
            changes.append(RowChange.of("altered", f"the tokenizer {kind}", positions, _example(string, decoded)))
    return pa.table(columns).replace_schema_metadata({_CHANGES: json.dumps([asdict(change) for change in changes])})


def _without(tokens: Ragged, strings: np.ndarray) -> tuple[Ragged, np.ndarray]:
    """Return the tokens of the other strings, and their positions."""
    keep = np.ones(len(tokens.ends), dtype=bool)
    keep[strings] = False
    lengths = tokens.lengths
    return Ragged(tokens.ids[np.repeat(keep, lengths)], np.cumsum(lengths[keep])), keep.nonzero()[0]


def _opened(made: pa.Table) -> Encoded:
    rows = made.column("row").to_numpy() if "row" in made.column_names else None
    changes = json.loads((made.schema.metadata or {})[_CHANGES])
    return Encoded(
        made.column("input_ids"), rows, tuple(RowChange(**{**one, "rows": tuple(one["rows"])}) for one in changes)
    )


def _given(column: pa.ChunkedArray, vocab_size: int) -> Ragged:
    """Return lists of token ids unchanged.

    Raises:
        ValueError: If an id is outside of the vocabulary.
    """
    lists = column.combine_chunks()
    ids = pa.compute.list_flatten(lists).to_numpy()
    if len(ids) and not 0 <= ids.min() <= ids.max() < vocab_size:
        raise ValueError(
            f"Expected token ids from 0 to {vocab_size - 1}, which the tokenizer knows, got {ids.min()} to {ids.max()}."
        )
    return Ragged(ids.astype(_type(vocab_size)), np.cumsum(pa.compute.list_value_length(lists).to_numpy()))


def _type(vocab_size: int) -> type[np.unsignedinteger]:
    return np.uint8 if vocab_size <= 2**8 else np.uint16 if vocab_size <= 2**16 else np.uint32


def _read(path: Path) -> pa.Table | None:
    if not path.exists():
        return None
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowException) as error:
        logger.warning("Encoding again: %s cannot be read (%s).", path, error)
        return None


def _write(table: pa.Table, path: str) -> None:
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=65_536)


def _unknown_symbols(strings: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Return the symbols of these strings that are not in the vocabulary, quoted."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    cut = backend.pre_tokenizer.pre_tokenize_str if backend is not None and backend.pre_tokenizer else list
    symbols = {piece[0] for string in strings for piece in cut(string)} - set(tokenizer.get_vocab())
    return tuple(map(repr, sorted(symbols)[:_EXAMPLES]))
