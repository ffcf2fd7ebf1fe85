import pytest

from discrete_diffusion.trainer.batches import Batches


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
