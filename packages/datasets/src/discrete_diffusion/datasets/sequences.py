"""Token sequences of one length, split for training and validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedTokenizerBase

import datasets
from discrete_diffusion.datasets.labels import Label, LabelRule


@dataclass(frozen=True)
class SequenceData:
    """Everything that training a generator needs of its data.

    `train` and `validation` give `input_ids`, int64 (length,), and, where there is a label, `label`, int64 (), as torch
    tensors. All columns of the source stay beside them, the strings in `column`: `data.train.with_format(None)["qed"]`.
    `length` counts `<bos>`, `<eos>` and the padding with `<pad>`, which is modelled as any other token.
    """

    column: str
    train: datasets.Dataset
    validation: datasets.Dataset
    tokenizer: PreTrainedTokenizerBase
    label: Label | None
    length: int


def sequence_data(
    rows: datasets.Dataset,
    column: str,
    *,
    tokenizer: PreTrainedTokenizerBase | Callable[[Sequence[str]], PreTrainedTokenizerBase],
    label: LabelRule | None = None,
    length: int | None = None,
    drop_longer: bool = False,
    validation: float = 0.05,
    seed: int = 42,
) -> SequenceData:
    """Encodes the strings in `column`, labels them, and splits the rows 95/5 with seed 42, as in arXiv 2412.10193.

    Args:
        tokenizer: a tokenizer, or what builds one from all strings (training and validation), such as
            `smiles_tokenizer`.
        label: what to label the rows by; it is fitted to all rows, before the split. An original column named `label`
            is then kept as `label_value`.
        length: tokens in each sequence, special tokens included; by default those of the longest.
        drop_longer: whether to leave out sequences that do not fit `length`, instead of refusing them.
        validation: share of the rows to validate on.

    Raises:
        ValueError: if the column is missing, a string has a symbol that the tokenizer does not know, or a sequence does
            not fit.
    """
    if column not in rows.column_names:
        raise ValueError(f"Expected a column {column!r}; the columns are {', '.join(rows.column_names)}.")
    if "input_ids" in rows.column_names:
        raise ValueError("Expected rows that are not encoded yet, got a column 'input_ids'.")
    if not 0 < validation < 1:
        raise ValueError(f"Expected 0 < `validation` < 1, got {validation}.")
    strings = rows.with_format(None)[column][:]
    if not all(isinstance(string, str) for string in strings):
        raise ValueError(f"Expected strings in the column {column!r}.")
    if len(strings) < 2:
        raise ValueError(f"Expected at least 2 rows to split, got {len(strings)}.")
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        tokenizer = tokenizer(strings)
    encoded = _encode(tokenizer, strings)
    fitted = None if label is None else label.fit(rows)
    longest = max(map(len, encoded))
    length = longest if length is None else length
    keep = [i for i, ids in enumerate(encoded) if len(ids) <= length]
    if len(keep) < len(encoded):
        if not drop_longer:
            raise ValueError(
                f"Expected every sequence to fit `length` {length}, but {len(encoded) - len(keep)} of {len(encoded)} "
                f"do not: `length={longest}` fits all, `drop_longer=True` leaves them out."
            )
        if len(keep) < 2:
            raise ValueError(f"Expected sequences that fit `length` {length}, got {len(keep)}.")
        rows, encoded = rows.select(keep), [encoded[i] for i in keep]
    table = rows.with_format("arrow")[:].replace_schema_metadata(None)
    if fitted is not None:
        moved = {"label": "label_value"}
        table = table.rename_columns([moved.get(name, name) for name in table.column_names])
        column = moved.get(column, column)
        table = table.append_column("label", pa.array(fitted.ids(rows)))
    padded = np.full((len(encoded), length), tokenizer.pad_token_id, dtype=np.int64)
    for i, ids in enumerate(encoded):
        padded[i, : len(ids)] = ids
    table = table.append_column("input_ids", pa.FixedSizeListArray.from_arrays(pa.array(padded.ravel()), length))
    columns = ["input_ids"] if fitted is None else ["input_ids", "label"]
    whole = datasets.Dataset(datasets.table.InMemoryTable(table)).with_format("torch", columns=columns)
    split = whole.train_test_split(test_size=validation, seed=seed)
    return SequenceData(column, split["train"], split["test"], tokenizer, fitted, length)


def decode(tokenizer: PreTrainedTokenizerBase, ids: torch.Tensor) -> list[str]:
    """Turns token ids (n, length) into n strings, without repairing them.

    A `<bos>` in front is taken away, and the first `<eos>` ends the string, whatever follows it. Any other special
    token was put where none belongs and is shown: a sample `<bos> C <pad> O <eos>` reads `C<pad>O`, which is no
    molecule, although skipping its special tokens would give `CO`. A sequence without `<eos>` is read to its end, and
    one that begins with it is the empty string.
    """
    texts = []
    for row in ids.tolist():
        start = 1 if row[:1] == [tokenizer.bos_token_id] else 0
        end = row.index(tokenizer.eos_token_id, start) if tokenizer.eos_token_id in row[start:] else len(row)
        text = tokenizer.decode(row[start:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        texts.append(str(text))
    return texts


def _encode(tokenizer: PreTrainedTokenizerBase, strings: Sequence[str]) -> list[list[int]]:
    if tokenizer.pad_token_id is None:
        raise ValueError("Expected a tokenizer with a padding token.")
    encoded = tokenizer(list(strings), return_attention_mask=False, return_token_type_ids=False)["input_ids"]
    unknown = [string for string, ids in zip(strings, encoded, strict=True) if tokenizer.unk_token_id in ids]
    if unknown:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        cut = backend.pre_tokenizer.pre_tokenize_str if backend is not None and backend.pre_tokenizer else list
        symbols = sorted({piece[0] for string in unknown for piece in cut(string)} - set(tokenizer.get_vocab()))
        named = ", ".join(map(repr, symbols[:10])) or f"a part of {unknown[0]!r}"
        raise ValueError(
            f"Expected symbols that the tokenizer knows, but {len(unknown)} of {len(strings)} strings have others: "
            f"{named}."
        )
    return encoded
