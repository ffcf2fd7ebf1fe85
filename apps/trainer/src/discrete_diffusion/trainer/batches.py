"""Batches for training and validation."""

from collections.abc import Iterator
from functools import cached_property
from hashlib import sha256
from itertools import islice
from math import ceil
from typing import Any

import datasets
import lightning as L
import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, get_worker_info

from discrete_diffusion.datasets import SequenceData, Stream
from discrete_diffusion.trainer.stopping import ignore_signals

DIGESTED = 1000
"""Number of training sequences in the digest of the data."""


class Batches(Sampler[list[int]]):
    """Sampler of every row once per epoch, in an order that depends only on the seed and the number of the batch.

    A resumed run therefore sees the same rows as an uninterrupted one.
    """

    def __init__(
        self, rows: int, batch_size: int, batches: int, *, seed: int, first: int = 0, rank: int = 0, ranks: int = 1
    ) -> None:
        self.rows, self.batch_size, self.batches = rows, batch_size, batches
        self.seed, self.first, self.rank, self.ranks = seed, first, rank, ranks

    def __len__(self) -> int:
        """Return the number of batches of the whole run, including those before `first`."""
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each batch from `first` on."""
        shuffled, order = -1, torch.empty(0, dtype=torch.long)
        for batch in range(self.first, self.batches):
            chosen: list[int] = []
            start = (batch * self.ranks + self.rank) * self.batch_size
            while (missing := self.batch_size - len(chosen)) > 0:
                epoch, index = divmod(start + len(chosen), self.rows)
                if epoch != shuffled:
                    generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
                    shuffled, order = epoch, torch.randperm(self.rows, generator=generator)
                chosen += order[index : index + missing].tolist()
            yield chosen


class Rows(Dataset):
    """Rows as tensors, a batch at a time: a row by itself would cost Python's time for each row.

    Args:
        rows: Rows whose format names their columns of numbers, or of lists of numbers of one length.
    """

    def __init__(self, rows: datasets.Dataset) -> None:
        self.rows = rows

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        """Return one row."""
        return {name: values[0] for name, values in self.__getitems__([row]).items()}

    def __getitems__(self, rows: list[int]) -> dict[str, Tensor]:
        """Return a batch, integers as int64."""
        places = np.array(rows) if self._places is None else self._places[rows]
        return {name: _gather(parts, places) for name, parts in self._columns.items()}

    # Built in the process that reads: a worker would otherwise receive copies of what is read from disk as needed.
    @cached_property
    def _columns(self) -> dict[str, list[np.ndarray]]:
        return {name: _arrays(self.rows.data.column(name)) for name in self.rows.format["columns"]}

    @cached_property
    def _places(self) -> np.ndarray | None:
        # The rows of a split are places in the table of all rows.
        indices = self.rows._indices
        return None if indices is None else indices.column(0).to_numpy().astype(np.int64)


def _arrays(column: pa.ChunkedArray) -> list[np.ndarray]:
    """Return the chunks of a column as arrays, without copying them."""
    if not pa.types.is_fixed_size_list(column.type):
        return [chunk.to_numpy() for chunk in column.chunks]
    return [chunk.flatten().to_numpy().reshape(len(chunk), -1) for chunk in column.chunks]


def _gather(parts: list[np.ndarray], places: np.ndarray) -> Tensor:
    ends = np.cumsum([len(part) for part in parts])
    owner = np.searchsorted(ends, places, side="right")
    dtype = np.int64 if np.issubdtype(parts[0].dtype, np.integer) else parts[0].dtype
    values = np.empty((len(places), *parts[0].shape[1:]), dtype)
    for part in np.unique(owner):
        inside = owner == part
        values[inside] = parts[part][places[inside] - ends[part] + len(parts[part])]
    return torch.from_numpy(values)


def _unchanged(batch: Any) -> Any:
    return batch


class Share(IterableDataset):
    """Every `ranks`-th batch of a stream, from batch `first` of this rank on.

    Each of the data loader's workers yields whole batches in turn, so that the batches do not depend on the number of
    workers. A resumed run reads the sequences seen before and skips them.
    """

    def __init__(self, stream: Stream, rank: int, ranks: int, batch_size: int, first: int) -> None:
        self.stream, self.rank, self.ranks, self.batch_size, self.first = stream, rank, ranks, batch_size, first

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield the sequences of this rank and worker."""
        worker = get_worker_info()
        mine, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        skipped = self.first * self.ranks * self.batch_size
        for position, row in enumerate(islice(self.stream, skipped, None)):
            batch, rank = divmod(position // self.batch_size, self.ranks)
            if rank == self.rank and batch % workers == mine:
                yield row


class DataModule(L.LightningDataModule):
    """Data loaders of a run.

    Args:
        data: Training and validation sequences.
        batch_size: Number of rows of a forward pass in each process.
        steps: Number of steps.
        seed: Seed of the order of the rows.
        num_workers: Number of processes that load rows, for each process that trains.
        resizable: Whether a resumed run may have another number of rows in a step than before.

    Raises:
        ValueError: If `batch_size` or `steps` is below 1.
    """

    def __init__(
        self,
        data: SequenceData,
        *,
        batch_size: int,
        steps: int,
        seed: int,
        num_workers: int,
        resizable: bool = False,
    ) -> None:
        super().__init__()
        for name, count in (("batch_size", batch_size), ("steps", steps)):
            if count < 1:
                raise ValueError(f"Expected `{name}` >= 1, got {count}.")
        self.data, self.batch_size, self.steps = data, batch_size, steps
        self.seed, self.num_workers, self.resizable = seed, num_workers, resizable

    def train_dataloader(self) -> DataLoader:
        """Return the training batches, starting at the current step."""
        trainer = self.trainer
        assert trainer is not None
        train, rank, ranks = self.data.train, trainer.global_rank, trainer.world_size
        first = trainer.global_step * trainer.accumulate_grad_batches
        if isinstance(train, Stream):
            stream = Share(train, rank, ranks, self.batch_size, first)
            return DataLoader(stream, batch_size=self.batch_size, **self._options())
        batches = Batches(
            len(train),
            self.batch_size,
            self.steps * trainer.accumulate_grad_batches,
            seed=self.seed,
            first=first,
            rank=rank,
            ranks=ranks,
        )
        return DataLoader(Rows(train), batch_sampler=batches, collate_fn=_unchanged, **self._options())

    def val_dataloader(self) -> DataLoader:
        """Return the validation rows in order, split among the ranks."""
        trainer = self.trainer
        assert trainer is not None
        batches = range(ceil(len(self.data.validation) / (2 * self.batch_size * trainer.world_size)))
        # A rank without rows takes any one, so that all ranks have the same number of batches.
        rows = [list(self.validation_rows(batch)[0]) or [0] for batch in batches]
        return DataLoader(Rows(self.data.validation), batch_sampler=rows, collate_fn=_unchanged, **self._options())

    def validation_rows(self, batch: int) -> tuple[range, range]:
        """Return the rows of this rank in a batch of the validation, and those of all ranks."""
        trainer = self.trainer
        assert trainer is not None
        size, rows = 2 * self.batch_size, range(len(self.data.validation))
        whole = rows[batch * trainer.world_size * size :][: trainer.world_size * size]
        return whole[trainer.global_rank * size :][:size], whole

    @property
    def global_batch_size(self) -> int:
        """Number of rows of a step, in all processes."""
        trainer = self.trainer
        assert trainer is not None
        return self.batch_size * trainer.world_size * trainer.accumulate_grad_batches

    def state_dict(self) -> dict[str, Any]:
        """Return a digest of the data and the number of rows of a step, for the checkpoint."""
        return {"data": digest_of(self.data), "global_batch_size": self.global_batch_size}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compare the data and the number of rows of a step with those of the checkpoint.

        Raises:
            ValueError: If they differ.
        """
        if state_dict["data"] != digest_of(self.data):
            raise ValueError("Expected the data of the run that is resumed, but they have changed since.")
        before, now = state_dict.get("global_batch_size"), self.global_batch_size
        if before not in (None, now) and not self.resizable:
            raise ValueError(
                f"Expected {before} rows in a step, as in the run that is resumed, got {now}: add "
                f"global_batch_size={before} beside `resume` to keep them, or global_batch_size={now} to change them."
            )

    def _options(self) -> dict[str, Any]:
        # A loader draws a seed for its workers. Drawing it from the global generator would change the dropout of a
        # resumed run.
        generator = torch.Generator().manual_seed(self.seed)
        return {"num_workers": self.num_workers, "generator": generator, "worker_init_fn": ignore_signals}


def recount_batches(checkpoint: dict[str, Any], accumulated: int) -> None:
    """Count the batches of a checkpoint's steps as `accumulated` each, for a run that is resumed on other devices."""
    for progress in checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"].values():
        if isinstance(progress, dict):
            change = checkpoint["global_step"] * accumulated - progress["ready"]
            progress.update({name: count + change for name, count in progress.items()})


def digest_of(data: SequenceData) -> str:
    """Return a digest of the number of rows and of at most 1,000 of the training sequences with their labels."""
    digest = sha256()
    sizes = [0 if isinstance(data.train, Stream) else len(data.train), len(data.validation), data.length]
    digest.update(repr(sizes).encode())
    examples = data.examples(DIGESTED)
    # Data without a condition may have a column of this name, which is none of their tensors.
    for column in ["input_ids", *(["label"] if (data.label or data.values) is not None else [])]:
        digest.update(examples[column][:].numpy().tobytes())
    return digest.hexdigest()
