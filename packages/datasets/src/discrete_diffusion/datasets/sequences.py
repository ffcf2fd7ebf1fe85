"""Token sequences of one length, split for training and validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import torch
from transformers import PreTrainedTokenizerBase

import datasets
from discrete_diffusion.datasets.augmentation import Augmentation
from discrete_diffusion.datasets.encoding import encode
from discrete_diffusion.datasets.labels import Label, LabelRule
from discrete_diffusion.datasets.layouts import Layout, Padded
from discrete_diffusion.datasets.stream import Stream

Tokenizer = PreTrainedTokenizerBase | Callable[[Sequence[str]], PreTrainedTokenizerBase]
Rows = datasets.Dataset | datasets.DatasetDict | datasets.IterableDataset

PADDED = Padded()


@dataclass(frozen=True)
class SequenceData:
    """Everything that training a generator needs of its data.

    `train` and `validation` give `input_ids`, int64 (length,), and, where there is a label, `label`, int64 (), as torch
    tensors. All columns of the source stay beside them, the one they were made of in `column`:
    `data.train.with_format(None)["qed"]`. `length` counts special tokens and padding, which are modelled as any
    other token. Where there is an `augment`, training sequences are `augment.reads(length)` long, and it makes
    `length` tokens of each.
    """

    column: str
    train: datasets.Dataset | Stream
    validation: datasets.Dataset
    tokenizer: PreTrainedTokenizerBase
    label: Label | None
    length: int
    augment: Augmentation | None = None

    @property
    def rows(self) -> datasets.Dataset:
        """The training sequences, where they have an end.

        Raises:
            ValueError: if they are a stream.
        """
        if isinstance(self.train, Stream):
            raise ValueError("Expected data that can be read as a whole, got a stream.")
        return self.train

    @property
    def labels(self) -> torch.Tensor | None:
        """The class of each training sequence, int64 (rows,); None without labels."""
        return None if self.label is None else torch.as_tensor(self.rows.with_format(None)["label"][:])

    def examples(self, rows: int) -> datasets.Dataset:
        """At most so many training rows, evenly spread; of a stream, the first."""
        if isinstance(self.train, Stream):
            return self.train.head(rows)
        return self.train.select(range(0, len(self.train), -(-len(self.train) // rows)))


def sequence_data(
    rows: Rows,
    column: str,
    *,
    tokenizer: Tokenizer,
    label: LabelRule | None = None,
    length: int | None = None,
    layout: Layout = PADDED,
    augment: Callable[[PreTrainedTokenizerBase], Augmentation] | None = None,
    allow_unknown: bool = False,
    validation: float = 0.05,
    seed: int = 42,
) -> SequenceData:
    """Encodes what is in `column`, labels it, and splits the rows 95/5 with seed 42, as in arXiv 2412.10193.

    Args:
        rows: a data set; or one with parts `train` and `validation`, which is not split again; or a stream, whose
            documents are read as they are needed.
        column: strings, or lists of token ids.
        tokenizer: a tokenizer, or what builds one from all strings (training and validation), such as
            `smiles_tokenizer`; of a stream, from those to validate on.
        label: what to label the rows by; it is fitted to all rows, before the split. An original column named `label`
            is then kept as `label_value`.
        length: tokens in each sequence, special tokens included; by default those of the longest.
        layout: how tokens become sequences of one length.
        augment: from the tokenizer to what is done to training sequences, each time.
        allow_unknown: whether what the tokenizer does not know may become its token for that.
        validation: share of the rows to validate on, or their number; of a stream, the number of its first documents.

    Raises:
        ValueError: if the column is missing, a string has a symbol that the tokenizer does not know, or a sequence does
            not fit.
    """
    if isinstance(rows, datasets.IterableDataset):
        if label is not None:
            raise ValueError("Expected no `label`: a stream has none.")
        if validation < 1 or length is None:
            raise ValueError(
                f"Expected a `length`, and in `validation` a number of documents, for a stream; got {length} and "
                f"{validation}."
            )
        held_out = datasets.Dataset.from_list(list(rows.take(int(validation))))
    else:
        if not 0 < validation < 1:
            raise ValueError(f"Expected 0 < `validation` < 1, got {validation}.")
        held_out = rows["validation"] if isinstance(rows, datasets.DatasetDict) else rows
    everything = held_out
    if isinstance(rows, datasets.DatasetDict):
        everything = datasets.concatenate_datasets([rows["train"], rows["validation"]])
    _check(everything, column)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        tokenizer = tokenizer(everything.with_format(None)[column][:])
    made = None if augment is None else augment(tokenizer)
    fitted = None if label is None else label.fit(everything)

    def sequences(part: datasets.Dataset, length: int | None) -> datasets.Dataset:
        return _sequences(part, column, tokenizer, fitted, length, layout, allow_unknown)

    train: datasets.Dataset | Stream
    reads = length if length is None or made is None else made.reads(length)
    if isinstance(rows, datasets.DatasetDict):
        train, held_out = sequences(rows["train"], reads), sequences(rows["validation"], length)
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
        held_out = sequences(held_out, length)
    else:
        whole = sequences(rows, length)
        if len(whole) < 2:
            raise ValueError(f"Expected at least 2 sequences to split, got {len(whole)}.")
        split = whole.train_test_split(test_size=validation, seed=seed)
        train, held_out = split["train"], split["test"]
    column = "label_value" if fitted is not None and column == "label" else column
    return SequenceData(column, train, held_out, tokenizer, fitted, length or _length(held_out), made)


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


def _check(rows: datasets.Dataset, column: str) -> None:
    if column not in rows.column_names:
        raise ValueError(f"Expected a column {column!r}; the columns are {', '.join(rows.column_names)}.")
    if "input_ids" in rows.column_names:
        raise ValueError("Expected rows that are not encoded yet, got a column 'input_ids'.")
    values = rows.data.column(column)
    lists = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
    if lists and pa.types.is_integer(values.type.value_type):
        return
    if values.null_count or not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        raise ValueError(f"Expected strings, or lists of token ids, in the column {column!r}.")


def _sequences(
    rows: datasets.Dataset,
    column: str,
    tokenizer: PreTrainedTokenizerBase,
    label: Label | None,
    length: int | None,
    layout: Layout,
    allow_unknown: bool,
) -> datasets.Dataset:
    """The sequences of these rows, with what else the rows have where each is one row's."""
    table = rows.with_format("arrow")[:].replace_schema_metadata(None)
    ids, kept = encode(table.column(column), tokenizer, layout, length, allow_unknown=allow_unknown)
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
        classes = label.ids(rows)[kept]
        table = table.rename_columns([moved.get(name, name) for name in table.column_names])
        table = table.append_column("label", pa.array(classes))
        columns.append("label")
    table = table.append_column("input_ids", ids)
    return datasets.Dataset(datasets.table.InMemoryTable(table)).with_format("torch", columns=columns)


def _length(sequences: datasets.Dataset) -> int:
    return sequences.data.schema.field("input_ids").type.list_size
