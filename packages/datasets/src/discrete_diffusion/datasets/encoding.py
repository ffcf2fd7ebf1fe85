"""From a column to token ids, which are made once and kept."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import tokenizers
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.datasets.cache import cache_folder, keep
from discrete_diffusion.datasets.layouts import Layout, Ragged

FORMAT = 1
"""Part of every fingerprint: another number where this file comes to encode otherwise."""

WORTH_KEEPING = 2**20
"""Bytes; a column of fewer is encoded in a second."""

_BATCH = 4096

_AT_ONCE = 2**24
"""Bytes of strings that are in memory as Python's own."""

logger = logging.getLogger(__name__)


def encode(
    column: pa.ChunkedArray,
    tokenizer: PreTrainedTokenizerBase,
    layout: Layout,
    length: int | None,
    *,
    allow_unknown: bool,
) -> tuple[pa.ChunkedArray, np.ndarray | None]:
    """The sequences of a column of strings, or of lists of token ids, and for each the row that it comes from.

    Of a large column they are kept in the cache folder, under a fingerprint of everything that changes them: the
    column, the tokenizer, the layout and the length. They are read back as they are needed, not into memory.

    Raises:
        ValueError: if a string has a symbol that the tokenizer does not know, or the layout cannot lay it out.
    """
    if column.nbytes < WORTH_KEEPING:
        return _opened(_encoded(column, tokenizer, layout, length, allow_unknown))
    said = [FORMAT, layout, length, allow_unknown, tokenizers.__version__, fingerprint_of_tokenizer(tokenizer)]
    digest = hashlib.sha256(repr(said).encode())
    # How the column is cut into chunks, or of what it is a part, says nothing about it: a fresh copy tells neither.
    for buffer in pa.concat_arrays(column.chunks).buffers():
        digest.update(b"-" if buffer is None else memoryview(buffer))
    path = cache_folder() / f"tokens-{digest.hexdigest()[:24]}.arrow"
    if (kept := _read(path)) is None:
        made = _encoded(column, tokenizer, layout, length, allow_unknown)
        keep(path, lambda partial: _write(made, partial))
        kept = _read(path) or made
    return _opened(kept)


def fingerprint_of_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """Of all that a tokenizer does."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    told = backend.to_str() if backend is not None else repr((type(tokenizer), sorted(tokenizer.get_vocab().items())))
    return hashlib.sha256(told.encode()).hexdigest()


def tokenize(
    strings: Sequence[str], tokenizer: PreTrainedTokenizerBase, layout: Layout, length: int | None, allow_unknown: bool
) -> Ragged:
    """The token ids of strings.

    Raises:
        ValueError: if a string has a symbol that the tokenizer does not know, and that is not allowed.
    """
    if layout.truncates and length is None:
        raise ValueError("Expected a `length` to truncate to.")
    parts, lengths = [], []
    for start in range(0, len(strings), _BATCH):
        batch = list(strings[start : start + _BATCH])
        try:
            encoded = tokenizer(
                batch,
                add_special_tokens=layout.special_tokens,
                truncation=layout.truncates,
                max_length=length if layout.truncates else None,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )["input_ids"]
        except Exception as error:
            strange = sorted(set("".join(batch)) - set("".join(tokenizer.get_vocab())))
            if tokenizer.unk_token_id is not None or not strange:
                raise
            named = ", ".join(map(repr, strange[:10]))
            raise ValueError(f"Expected symbols that the tokenizer knows, got others: {named}.") from error
        lengths += [len(ids) for ids in encoded]
        parts.append(np.fromiter((one for ids in encoded for one in ids), dtype=_type(len(tokenizer))))
    tokens = Ragged(np.concatenate(parts), np.cumsum(lengths))
    if not allow_unknown and tokenizer.unk_token_id is not None:
        _refuse_unknown(tokens, strings, tokenizer)
    return tokens


def _encoded(
    column: pa.ChunkedArray, tokenizer: PreTrainedTokenizerBase, layout: Layout, length: int | None, allow_unknown: bool
) -> pa.Table:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        rows = max(1, _AT_ONCE * len(column) // max(column.nbytes, 1))
        parts = [
            tokenize(column.slice(start, rows).to_pylist(), tokenizer, layout, length, allow_unknown)
            for start in range(0, max(len(column), 1), rows)
        ]
        before = np.cumsum([0, *(len(part.ids) for part in parts[:-1])])
        ends = [part.ends + shift for part, shift in zip(parts, before, strict=True)]
        tokens = Ragged(np.concatenate([part.ids for part in parts]), np.concatenate(ends))
    else:
        tokens = _given(column, len(tokenizer))
    ids, rows = layout(tokens, length, tokenizer)
    columns = {"input_ids": pa.FixedSizeListArray.from_arrays(pa.array(ids.ravel()), ids.shape[1])}
    return pa.table(columns if rows is None else {**columns, "row": pa.array(rows)})


def _opened(made: pa.Table) -> tuple[pa.ChunkedArray, np.ndarray | None]:
    return made.column("input_ids"), made.column("row").to_numpy() if "row" in made.column_names else None


def _given(column: pa.ChunkedArray, vocab_size: int) -> Ragged:
    """Lists of token ids, as they are."""
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


def _refuse_unknown(tokens: Ragged, strings: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> None:
    places = (tokens.ids == tokenizer.unk_token_id).nonzero()[0]
    unknown = [strings[i] for i in np.unique(np.searchsorted(tokens.ends, places, side="right"))]
    if not unknown:
        return
    backend = getattr(tokenizer, "backend_tokenizer", None)
    cut = backend.pre_tokenizer.pre_tokenize_str if backend is not None and backend.pre_tokenizer else list
    symbols = sorted({piece[0] for string in unknown for piece in cut(string)} - set(tokenizer.get_vocab()))
    named = ", ".join(map(repr, symbols[:10])) or f"a part of {unknown[0]!r}"
    raise ValueError(
        f"Expected symbols that the tokenizer knows, but {len(unknown)} of {len(strings)} strings have others: {named}."
    )
