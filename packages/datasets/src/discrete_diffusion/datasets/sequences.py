"""Token sequences of one length, split for training and validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute
import torch
from transformers import PreTrainedTokenizerBase

import datasets
from discrete_diffusion.datasets.augmentation import Augmentation
from discrete_diffusion.datasets.encoding import decode_rows, encode
from discrete_diffusion.datasets.files import find_column
from discrete_diffusion.datasets.labels import FittedValueLabel, Label, LabelRule, ValueLabel
from discrete_diffusion.datasets.layouts import Layout, Padded
from discrete_diffusion.datasets.row_report import (
    DROP_REASON,
    RowChange,
    RowReport,
    UnreadableStringsError,
    merged,
)
from discrete_diffusion.datasets.stream import Stream

Tokenizer: TypeAlias = PreTrainedTokenizerBase | Callable[[Sequence[str]], PreTrainedTokenizerBase]
Rows: TypeAlias = datasets.Dataset | datasets.DatasetDict | datasets.IterableDataset

PADDED = Padded()


@dataclass(frozen=True)
class SequenceData:
    """Training and validation data of a generator.

    `train` and `validation` give `input_ids`, int64 (length,), and, where there is a label, `label`, int64 (), as torch
    tensors. All columns of the source remain, also the encoded `column`: `data.train.with_format(None)["qed"]`.
    `length` counts special tokens and padding, which are modeled like any other token. With an `augment`, training
    sequences have `augment.reads(length)` tokens, which it turns into `length` tokens. `report` counts rows that are
    dropped or changed. A row without a label has the null label, `label.num_classes`. Where the condition is numbers,
    `values` describes them, `label` is None, and the entry `label` of a row is its numbers in standard units, float32
    (numbers,), NaN where one is missing.
    """

    column: str
    train: datasets.Dataset | Stream
    validation: datasets.Dataset
    tokenizer: PreTrainedTokenizerBase
    label: Label | None
    length: int
    augment: Augmentation | None = None
    report: RowReport = field(default_factory=lambda: RowReport(0))
    values: FittedValueLabel | None = None

    @property
    def rows(self) -> datasets.Dataset:
        """Training sequences, if they are not a stream.

        Raises:
            ValueError: If they are a stream.
        """
        if isinstance(self.train, Stream):
            raise ValueError("Expected data that can be read as a whole, got a stream.")
        return self.train

    @property
    def labels(self) -> torch.Tensor | None:
        """Condition of each training sequence that has one; None without labels.

        Classes are int64 (labeled rows,), and numbers in standard units float32 (labeled rows, numbers).
        """
        if self.values is not None:
            numbers = torch.as_tensor(self.rows.with_format(None)["label"][:])
            return numbers[~numbers.isnan().all(-1)]
        if self.label is None:
            return None
        classes = torch.as_tensor(self.rows.with_format(None)["label"][:])
        return classes[classes < self.label.num_classes]

    def labeled(self) -> "SequenceData":
        """Return the rows that have a label, on which a classifier can train; the report counts the others as dropped.

        Raises:
            ValueError: If no training or no validation row has a label.
        """
        if self.label is None:
            return self
        parts = []
        for part, name in ((self.rows, "training"), (self.validation, "validation")):
            classes = np.array(part.with_format(None)["label"][:])
            kept = (classes < self.label.num_classes).nonzero()[0]
            if not len(kept):
                raise ValueError(f"Expected {name} rows with a label in {self.label.column!r}, got none.")
            parts.append(part if len(kept) == len(part) else part.select(kept))
        return replace(self, train=parts[0], validation=parts[1], report=self.report.without_unlabeled())

    def examples(self, rows: int) -> datasets.Dataset:
        """Return at most `rows` training rows, evenly spread, or the first of a stream."""
        if isinstance(self.train, Stream):
            return self.train.head(rows)
        return self.train.select(range(0, len(self.train), -(-len(self.train) // rows)))


def sequence_data(
    rows: Rows,
    column: str | None = None,
    *,
    tokenizer: Tokenizer,
    label: LabelRule | ValueLabel | FittedValueLabel | None = None,
    length: int | None = None,
    layout: Layout = PADDED,
    augment: Callable[[PreTrainedTokenizerBase], Augmentation] | None = None,
    allow_unknown: bool = False,
    validation: float = 0.05,
    seed: int = 42,
    max_dropped: float = 0.1,
) -> SequenceData:
    """Encode a column, label the rows, and split them, by default 95/5 with seed 42 as in arXiv 2412.10193.

    A row is dropped if it has no string, if the source marks it in a column `drop_reason`, if the tokenizer cannot read
    it, or if it is too long for a layout that drops such rows. A row without a label is used without a condition.
    `SequenceData.report` counts these rows, and also blank, repeated, cut and altered ones, with the numbers of the
    first.

    Args:
        rows: Data set; or data set with parts `train` and `validation`, which is not split again; or stream, whose
            documents are read when they are needed.
        column: Column of strings or of lists of token ids; by default found by its name: smiles, sequence, text and so
            on.
        tokenizer: Tokenizer, or function that builds a tokenizer from all strings, such as `smiles_tokenizer`; for a
            stream, from the validation strings.
        label: Label of the rows, or their numbers, fitted to all rows before the split. An original column named
            `label` is then kept as `label_value`.
        length: Tokens in each sequence, special tokens included; by default those of the longest sequence.
        layout: Arrangement of tokens in sequences of one length.
        augment: Function from the tokenizer to a random change of training sequences.
        allow_unknown: Whether symbols that the tokenizer does not know may become its token for unknown symbols.
        validation: Share of the rows for validation, or their number; for a stream, its first documents, by number.
        max_dropped: Largest share of the rows that may be dropped.
        seed: Seed of the split.

    Raises:
        TooManyRowsDroppedError: If more rows would be dropped than `max_dropped` allows.
        ValueError: If the column is missing, or a sequence does not fit.
    """
    if not 0 <= max_dropped <= 1:
        raise ValueError(f"Expected 0 <= `max_dropped` <= 1, got {max_dropped}.")
    if isinstance(rows, datasets.IterableDataset):
        if label is not None:
            raise ValueError("Expected no `label`: a stream has none.")
        if validation < 1 or length is None:
            raise ValueError(
                f"Expected a `length`, and in `validation` a number of documents, for a stream; got {length} and "
                f"{validation}."
            )
        parts = {"validation": datasets.Dataset.from_list(list(rows.take(int(validation))))}
    else:
        if not 0 < validation < 1:
            raise ValueError(f"Expected 0 < `validation` < 1, got {validation}.")
        has_split = isinstance(rows, datasets.DatasetDict)
        parts = {"train": rows["train"], "validation": rows["validation"]} if has_split else {"all": rows}
    joined = _joined(parts)
    column = name = find_column(joined.rows.column_names, column)
    everything, changes = _usable(joined, column)
    total = len(joined.numbers)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        tokenizer, everything, unreadable = _built(tokenizer, everything, column)
        changes += unreadable
        if not isinstance(tokenizer, PreTrainedTokenizerBase):
            raise ValueError(f"Expected `tokenizer` to build a tokenizer, got {tokenizer!r:.80}.")
    RowReport(total, tuple(changes)).check(max_dropped)
    made = None if augment is None else augment(tokenizer)
    fitted = None if label is None else label.fit(everything.rows)
    if fitted is not None:
        changes += _unlabeled(everything, fitted)

    def sequences(part: str, length: int | None) -> datasets.Dataset:
        numbered = everything.part(part)
        found, lost = _sequences(numbered.rows, name, tokenizer, fitted, length, layout, allow_unknown)
        changes.extend(change.numbered(numbered.numbers) for change in lost)
        RowReport(total, tuple(changes)).check(max_dropped)
        return found

    train: datasets.Dataset | Stream
    reads = length if length is None or made is None else made.reads(length)
    if isinstance(rows, datasets.DatasetDict):
        train, held_out = sequences("train", reads), sequences("validation", length)
        if length is None and _length(train) != _length(held_out):
            raise ValueError(
                f"Expected a `length`: the longest sequence to train on has {_length(train)} tokens, the longest to "
                f"validate on {_length(held_out)}."
            )
    elif reads != length:
        raise ValueError(f"Expected data with a split of their own, of which {augment} can read more than `length`.")
    elif isinstance(rows, datasets.IterableDataset):
        assert length is not None
        documents = rows.skip(int(validation))
        train = Stream(documents, column, tokenizer, layout, length, allow_unknown, seed)
        held_out = sequences("validation", length)
    else:
        whole = sequences("all", length)
        if len(whole) < 2:
            raise ValueError(f"Expected at least 2 sequences to split, got {len(whole)}.")
        halves = whole.train_test_split(test_size=validation, seed=seed)
        train, held_out = halves["train"], halves["test"]
    report = RowReport(total, merged([*changes, *_suspicious(everything, column)]))
    column = "label_value" if fitted is not None and column == "label" else column
    classes, values = (None, fitted) if isinstance(fitted, FittedValueLabel) else (fitted, None)
    return SequenceData(column, train, held_out, tokenizer, classes, length or _length(held_out), made, report, values)


def decode(tokenizer: PreTrainedTokenizerBase, ids: torch.Tensor) -> list[str]:
    """Return the strings of token ids (n, length), without repairing them.

    A leading `<bos>` is removed, and the first `<eos>` ends the string, whatever follows it. Any other special token is
    an error of the model and is shown: a sample `<bos> C <pad> O <eos>` reads `C<pad>O`, which is no molecule, although
    without special tokens it would be `CO`. A sequence without `<eos>` is read to its end, and a sequence that begins
    with it is the empty string.

    Raises:
        TypeError: If `ids` is no tensor of integers.
        ValueError: If it has another shape, or an id that the tokenizer does not have.
    """
    if not isinstance(ids, torch.Tensor) or ids.is_floating_point() or ids.dtype == torch.bool:
        raise TypeError(f"Expected a tensor of integers as `ids`, got {ids!r:.80}.")
    if ids.ndim != 2:
        raise ValueError(f"Expected `ids` of shape (n, length), got {tuple(ids.shape)}.")
    if ids.numel() and not (int(ids.min()) >= 0 and int(ids.max()) < len(tokenizer)):
        raise ValueError(
            f"Expected 0 <= `ids` < {len(tokenizer)}, the size of the vocabulary, got {int(ids.min())} to "
            f"{int(ids.max())}."
        )
    return decode_rows(tokenizer, ids.tolist())


@dataclass(frozen=True)
class _Numbered:
    """Rows of all parts, with their numbers in the source, from 1.

    Attributes:
        rows: Rows of one part after the other.
        numbers: Number of each row.
        ends: Number of the last row of each part, in the source.
    """

    rows: datasets.Dataset
    numbers: np.ndarray
    ends: dict[str, int]

    def without(self, positions: np.ndarray) -> "_Numbered":
        """Return the other rows."""
        if not len(positions):
            return self
        keep = np.setdiff1d(np.arange(len(self.numbers)), positions)
        return _Numbered(self.rows.select(keep), self.numbers[keep], self.ends)

    def part(self, name: str) -> "_Numbered":
        """Return the rows of one part."""
        if len(self.ends) == 1:
            return self
        names = list(self.ends)
        first = self.ends[names[names.index(name) - 1]] if names.index(name) else 0
        inside = ((self.numbers > first) & (self.numbers <= self.ends[name])).nonzero()[0]
        return _Numbered(self.rows.select(inside), self.numbers[inside], {name: self.ends[name]})


def _joined(parts: dict[str, datasets.Dataset]) -> _Numbered:
    rows = next(iter(parts.values())) if len(parts) == 1 else datasets.concatenate_datasets([*parts.values()])
    ends = dict(zip(parts, np.cumsum([len(part) for part in parts.values()]).tolist(), strict=True))
    return _Numbered(rows, np.arange(1, len(rows) + 1), ends)


def _usable(source: _Numbered, column: str) -> tuple[_Numbered, list[RowChange]]:
    """Return the rows that have a string, and the changes for the others."""
    _check(source.rows, column)
    changes: list[RowChange] = []
    if DROP_REASON in source.rows.column_names:
        reasons = np.array(source.rows.with_format(None)[DROP_REASON][:], dtype=object)
        marked = np.array([reason is not None for reason in reasons], dtype=bool)
        for reason in dict.fromkeys(reasons[marked]):
            changes.append(RowChange.of("dropped", reason, (reasons == reason).nonzero()[0]))
        source = _Numbered(source.rows.remove_columns(DROP_REASON), source.numbers, source.ends)
        source = source.without(marked.nonzero()[0])
    missing = pa.compute.is_null(_column(source.rows, column)).to_numpy().nonzero()[0]
    if len(missing):
        reason = f"no value in the column {column!r}"
        changes.append(RowChange.of("dropped", reason, missing).numbered(source.numbers))
        source = source.without(missing)
    return source, changes


def _unlabeled(source: _Numbered, label: Label | FittedValueLabel) -> list[RowChange]:
    """Return the change for the rows without a label.

    Raises:
        ValueError: If no row has a label.
    """
    if isinstance(label, FittedValueLabel):
        missing = np.isnan(label.values(source.rows)).all(-1)
    else:
        missing = label.ids(source.rows) == label.num_classes
    positions = missing.nonzero()[0]
    if not len(positions):
        return []
    if len(positions) == len(source.numbers):
        raise ValueError(f"Expected a label in {label.column!r} in at least one row, got none.")
    return [RowChange.of("unconditional", f"no label in {label.column!r}", positions).numbered(source.numbers)]


def _built(
    build: Callable[[Sequence[str]], PreTrainedTokenizerBase], source: _Numbered, column: str
) -> tuple[PreTrainedTokenizerBase, _Numbered, list[RowChange]]:
    """Return a tokenizer of the strings that it can read, these rows, and the changes for the others.

    Raises:
        UnreadableStringsError: If it can read no string.
    """
    try:
        return build(source.rows.with_format(None)[column][:]), source, []
    except UnreadableStringsError as error:
        if len(error.strings) == len(source.numbers):
            raise
        strings = source.rows.with_format(None)[column][:]
        positions = np.array(error.strings)
        reason = f"{error.reason} ({strings[positions[0]]!r})"
        change = RowChange.of("dropped", reason, positions).numbered(source.numbers)
        source = source.without(positions)
        return build(source.rows.with_format(None)[column][:]), source, [change]


def _suspicious(source: _Numbered, column: str) -> list[RowChange]:
    """Return the blank and repeated strings, which are kept; repeats are not counted above 1 GiB."""
    values = _column(source.rows, column)
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        return []
    blank = pa.compute.or_(pa.compute.equal(values, ""), pa.compute.utf8_is_space(values))
    found = {"blank": blank.to_numpy().nonzero()[0]}
    if values.nbytes < 2**30:
        codes = values.dictionary_encode().unify_dictionaries()
        places = np.concatenate([chunk.indices.to_numpy() for chunk in codes.chunks])
        repeats = np.setdiff1d(np.arange(len(places)), np.unique(places, return_index=True)[1])
        found["repeats the string of an earlier row"] = repeats
    return [
        RowChange.of("kept", reason, positions).numbered(source.numbers)
        for reason, positions in found.items()
        if len(positions)
    ]


def _column(rows: datasets.Dataset, column: str) -> pa.ChunkedArray:
    return rows.with_format("arrow")[:].column(column)


def _check(rows: datasets.Dataset, column: str) -> None:
    if "input_ids" in rows.column_names:
        raise ValueError("Expected rows that are not encoded yet, got a column 'input_ids'.")
    values = rows.data.column(column)
    lists = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
    if lists and pa.types.is_integer(values.type.value_type):
        return
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        raise ValueError(f"Expected strings, or lists of token ids, in the column {column!r}.")


def _sequences(
    rows: datasets.Dataset,
    column: str,
    tokenizer: PreTrainedTokenizerBase,
    label: Label | FittedValueLabel | None,
    length: int | None,
    layout: Layout,
    allow_unknown: bool,
) -> tuple[datasets.Dataset, Sequence[RowChange]]:
    """Return the sequences of these rows, with their other columns if each holds one row, and the changes.

    Raises:
        ValueError: If there is a label, but a sequence holds several rows.
    """
    table = rows.with_format("arrow")[:].replace_schema_metadata(None)
    ids, kept, changes = encode(table.column(column), tokenizer, layout, length, allow_unknown=allow_unknown)
    if kept is None:
        if label is not None:
            raise ValueError("Expected no `label`: these sequences hold more than one row each.")
        blocks = ids.combine_chunks().flatten().to_numpy().reshape(len(ids), -1)
        texts = tokenizer.batch_decode(blocks, skip_special_tokens=True)
        table = pa.table({column: texts})
    elif len(kept) < len(table):
        table = table.take(pa.array(kept))
    columns = ["input_ids"]
    if label is not None:
        moved = {"label": "label_value"}
        if isinstance(label, FittedValueLabel):
            numbers = label.values(rows)[kept]
            conditions: pa.Array = pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), numbers.shape[1])
        else:
            conditions = pa.array(label.ids(rows)[kept])
        table = table.rename_columns([moved.get(name, name) for name in table.column_names])
        table = table.append_column("label", conditions)
        columns.append("label")
    table = table.append_column("input_ids", ids)
    return datasets.Dataset(datasets.table.InMemoryTable(table)).with_format("torch", columns=columns), changes


def _length(sequences: datasets.Dataset) -> int:
    return sequences.data.schema.field("input_ids").type.list_size
