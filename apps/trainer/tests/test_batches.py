import pytest
import torch
from torch.utils.data import DataLoader

from discrete_diffusion.trainer.batches import Batches, Share


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
