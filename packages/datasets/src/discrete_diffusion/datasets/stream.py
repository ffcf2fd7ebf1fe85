"""Sequences of a stream of text, which is never in memory as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

import datasets
from discrete_diffusion.datasets.encoding import tokenize
from discrete_diffusion.datasets.layouts import Layout

DOCUMENTS = 1000
"""Documents that are arranged at once; the tokens left over are dropped."""

BUFFER = 10_000
"""Documents in the shuffle buffer."""


@dataclass(frozen=True)
class Stream:
    """Endless training sequences; each pass over the documents shuffles them by `seed`."""

    documents: datasets.IterableDataset
    column: str
    tokenizer: PreTrainedTokenizerBase
    layout: Layout
    length: int
    allow_unknown: bool
    seed: int

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield `input_ids`, int64 (length,).

        Raises:
            ValueError: If the documents fill no sequence, or hold symbols that the tokenizer does not know.
        """
        for epoch in count():
            found = False
            shuffled = self.documents.shuffle(seed=self.seed + epoch, buffer_size=BUFFER)
            for ids in self._blocks(shuffled):
                found = True
                yield {"input_ids": torch.as_tensor(ids.astype(np.int64))}
            if not found:
                raise ValueError(f"Expected documents for at least 1 sequence of `length` {self.length}, got too few.")

    def head(self, rows: int) -> datasets.Dataset:
        """Return the first rows of the unshuffled stream, with the text decoded from them.

        Raises:
            ValueError: If the documents fill no sequence, or hold symbols that the tokenizer does not know.
        """
        found = list(islice(self._blocks(self.documents), rows))
        if not found:
            raise ValueError(f"Expected documents for at least 1 sequence of `length` {self.length}, got too few.")
        ids = np.stack(found)
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        column = pa.FixedSizeListArray.from_arrays(pa.array(ids.ravel()), self.length)
        table = pa.table({self.column: texts, "input_ids": column})
        return datasets.Dataset(datasets.table.InMemoryTable(table)).with_format("torch", columns=["input_ids"])

    def _blocks(self, documents: datasets.IterableDataset) -> Iterator[np.ndarray]:
        texts = (document[self.column] for document in documents)
        while batch := list(islice(texts, DOCUMENTS)):
            tokens, unknown, unreadable, _, symbols = tokenize(batch, self.tokenizer, self.layout, self.length)
            if refused := len(unreadable if self.allow_unknown else unknown):
                raise ValueError(
                    f"Expected symbols that the tokenizer knows, but {refused} of {len(batch)} documents have others: "
                    f"{', '.join(symbols)}."
                )
            try:
                yield from self.layout(tokens, self.length, self.tokenizer).ids
            except ValueError:
                if len(batch) == DOCUMENTS:  # the last few documents may be too few
                    raise
