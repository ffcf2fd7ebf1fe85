import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from discrete_diffusion.trainer.batches import Batches, Rows, Share


def test_every_row_comes_once_per_pass_and_passes_differ():
    batches = list(Batches(10, 4, 5, seed=3))
    stream = [row for batch in batches for row in batch]
    assert sorted(stream[:10]) == sorted(stream[10:]) == list(range(10))
    assert stream[:10] != stream[10:]
    assert len(Batches(10, 4, 5, seed=3)) == 5


@pytest.mark.parametrize("first", [1, 3, 4])
def test_a_resumed_run_goes_on_in_the_same_order(first: int):
    assert list(Batches(10, 4, 6, seed=3, first=first)) == list(Batches(10, 4, 6, seed=3))[first:]


def test_ranks_share_the_rows():
    ranks = [[row for batch in Batches(12, 2, 3, seed=0, rank=rank, ranks=2) for row in batch] for rank in range(2)]
    assert sorted(ranks[0] + ranks[1]) == list(range(12))


def test_a_batch_may_be_larger_than_the_data():
    (batch,) = Batches(3, 7, 1, seed=0)
    assert sorted(batch[:3]) == sorted(batch[3:6]) == [0, 1, 2]


def test_seeds_differ():
    assert list(Batches(50, 50, 1, seed=0)) != list(Batches(50, 50, 1, seed=1))


@pytest.mark.parametrize("chunks", [1, 4])
@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("label", ["class", "numbers", None])
def test_a_batch_equals_its_rows_one_at_a_time(chunks: int, split: bool, label: str | None):
    random = np.random.default_rng(0)

    def part(rows: int) -> pa.Table:
        ids, numbers = random.integers(0, 200, (rows, 6), dtype=np.uint8), random.random((rows, 2), dtype=np.float32)
        columns = {"smiles": ["C"] * rows, "input_ids": pa.FixedSizeListArray.from_arrays(pa.array(ids.ravel()), 6)}
        if label == "class":
            columns["label"] = pa.array(random.integers(0, 5, rows))
        elif label == "numbers":
            columns["label"] = pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), 2)
        return pa.table(columns)

    table = pa.concat_tables([part(5 + i) for i in range(chunks)])
    columns = ["input_ids"] if label is None else ["input_ids", "label"]
    rows = datasets.Dataset(datasets.table.InMemoryTable(table)).with_format("torch", columns=columns)
    rows = rows.train_test_split(0.2, seed=0)["train"] if split else rows
    chosen = [len(rows) - 1, 0, 2, 2]
    batch, expected = Rows(rows).__getitems__(chosen), default_collate([rows[i] for i in chosen])
    assert len(Rows(rows)) == len(rows)
    assert batch.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(batch[name], values)
        assert batch[name].dtype == values.dtype
        assert torch.equal(Rows(rows)[1][name], rows[1][name])


class Numbers:
    """A stream of the numbers 0 ... 95."""

    def __iter__(self):
        return iter([{"input_ids": torch.tensor([i])} for i in range(96)])


def numbers(workers: int, rank: int = 0, ranks: int = 1, first: int = 0) -> list[list[int]]:
    share = Share(Numbers(), rank, ranks, 4, first)  # type: ignore[arg-type]
    return [batch["input_ids"].flatten().tolist() for batch in DataLoader(share, batch_size=4, num_workers=workers)]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("ranks", [1, 2])
def test_every_row_of_a_stream_comes_once(workers: int, ranks: int):
    batches = [numbers(workers, rank, ranks) for rank in range(ranks)]
    assert sorted(row for rank in batches for batch in rank for row in batch) == list(range(96))
    assert batches == [numbers(0, rank, ranks) for rank in range(ranks)]
    assert numbers(workers, 0, ranks, first=5) == batches[0][5:]
