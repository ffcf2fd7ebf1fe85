import pytest
import torch
from torch import Generator, Tensor

from discrete_diffusion.schedules import (
    BatchGenerator,
    DiscreteTimes,
    IndependentTimes,
    LowDiscrepancyTimes,
    RowGenerators,
    draw_rows,
)

TIMES = [IndependentTimes(), LowDiscrepancyTimes(), DiscreteTimes(7)]


def part(first: int, rows: int) -> BatchGenerator:
    generator = BatchGenerator()
    generator.manual_seed(first)
    generator.whole.manual_seed(5)
    generator.first, generator.rows = first, rows
    return generator


@pytest.mark.parametrize("times", TIMES)
def test_times_do_not_depend_on_the_split(times):
    whole = times(12, generator=Generator().manual_seed(5))
    parts = [times(n, generator=part(first, 12)) for first, n in ((0, 4), (4, 1), (5, 7))]
    assert torch.equal(torch.cat(parts), whole)


def test_every_part_leaves_the_generator_of_the_batch_in_the_same_state():
    parts = [part(first, 12) for first in (0, 4)]
    for generator in parts:
        LowDiscrepancyTimes()(4, generator=generator)
    assert torch.equal(parts[0].whole.get_state(), parts[1].whole.get_state())


def test_direct_draws_differ_between_parts():
    assert not torch.equal(torch.rand(4, generator=part(0, 8)), torch.rand(4, generator=part(4, 8)))


def test_other_generators_draw_as_many_rows_as_requested():
    def draw(rows: int, source: Generator | None) -> Tensor:
        return torch.rand(rows, generator=source)

    assert torch.equal(draw_rows(draw, 3, Generator().manual_seed(1)), draw(3, Generator().manual_seed(1)))
    assert len(draw_rows(draw, 3, None)) == 3


def test_rows_outside_the_batch_are_refused():
    with pytest.raises(ValueError, match="Expected rows of a batch of 4, got 3 to 4"):
        LowDiscrepancyTimes()(2, generator=part(3, 4))


@pytest.mark.parametrize("times", TIMES)
def test_the_numbers_of_a_row_with_its_own_generator_do_not_depend_on_its_batch(times):
    together, alone = RowGenerators([7, 2, 9]), RowGenerators([9])
    assert torch.equal(times(3, generator=together)[2:], times(1, generator=alone))
    # Each row goes on with its own numbers.
    assert torch.equal(times(3, generator=together)[2:], times(1, generator=alone))
    assert len(times(3, generator=RowGenerators([7, 2, 9])).unique()) == 3


def test_low_discrepancy_times_of_rows_with_their_own_generators_are_independent():
    times = torch.stack([LowDiscrepancyTimes(0.0)(2, generator=RowGenerators([i, 5000 + i])) for i in range(2000)])
    assert torch.corrcoef(times.T)[0, 1].abs() < 4 / 2000**0.5
    assert (times.mean(0) - 0.5).abs().max() < 4 / (12 * 2000) ** 0.5


def test_every_row_has_one_generator():
    with pytest.raises(ValueError, match="Expected 2 rows, one for each generator, got 3"):
        IndependentTimes()(3, generator=RowGenerators([0, 1]))
    with pytest.raises(ValueError, match="Expected a seed for each row"):
        RowGenerators([])
