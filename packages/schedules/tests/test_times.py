import pytest
import torch

from discrete_diffusion.schedules import (
    Cosine,
    DiscreteTimes,
    Geometric,
    IndependentTimes,
    LogLinear,
    LowDiscrepancyTimes,
    StratifiedTimes,
    survival_grid,
    uniform_grid,
)


def test_uniform_grid():
    torch.testing.assert_close(uniform_grid(4), torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0], dtype=torch.float64))


@pytest.mark.parametrize("schedule", [LogLinear(), Cosine(), Geometric()], ids=repr)
def test_survival_grid_takes_equal_steps_of_alpha(schedule):
    grid = survival_grid(schedule, 8)
    assert grid[0] == 1
    assert grid[-1] == 0
    steps = schedule.alpha(grid).diff()
    torch.testing.assert_close(steps, steps.mean().expand(8))


def test_survival_grid_of_log_linear_is_uniform():
    torch.testing.assert_close(survival_grid(LogLinear(), 8), uniform_grid(8))


@pytest.mark.parametrize("times", [IndependentTimes(0.1), LowDiscrepancyTimes(0.1)], ids=repr)
def test_training_times_are_uniform(times, generator):
    draws = torch.cat([times(50, generator=generator) for _ in range(200)])
    assert draws.min() >= 0.1
    assert draws.max() <= 1
    counts = torch.histc(draws, 10, 0.1, 1.0)
    assert ((counts - 1000) ** 2 / 1000).sum() < CHI_SQUARE_9


CHI_SQUARE_9 = 27.9  # 99.9th percentile of the chi-square distribution with 9 degrees of freedom


@pytest.mark.parametrize("times", [IndependentTimes(0.1), LowDiscrepancyTimes(0.1)], ids=repr)
def test_the_time_of_every_row_is_uniform(times, generator):
    draws = torch.stack([times(4, generator=generator) for _ in range(1000)])
    for row in draws.T:
        counts = torch.histc(row, 10, 0.1, 1.0)
        assert ((counts - 100) ** 2 / 100).sum() < CHI_SQUARE_9


def test_the_time_of_every_row_of_a_chain_is_uniform(generator):
    draws = torch.stack([DiscreteTimes(10)(4, generator=generator) for _ in range(1000)])
    for row in draws.T:
        counts = (row * 10).round().long().bincount(minlength=11)[1:]
        assert ((counts - 100) ** 2 / 100).sum() < CHI_SQUARE_9


def test_low_discrepancy_puts_one_time_into_each_stratum(generator):
    t = LowDiscrepancyTimes(0.0)(16, generator=generator)
    assert sorted(((1 - t) * 16).floor().int().tolist()) == list(range(16))


def test_discrete_times_cover_the_chain(generator):
    t = DiscreteTimes(4)(400, generator=generator)
    assert set((t * 4).round().int().tolist()) == {1, 2, 3, 4}
    assert set((DiscreteTimes(4, first=2)(400, generator=generator) * 4).int().tolist()) == {2, 3, 4}


def test_times_leave_the_global_generator_alone(generator):
    before = torch.get_rng_state()
    for times in (IndependentTimes(), LowDiscrepancyTimes(), DiscreteTimes(3)):
        times(5, generator=generator)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: uniform_grid(0), "Expected `steps` >= 1, got 0."),
        (lambda: survival_grid(LogLinear(), 0), "Expected `steps` >= 1, got 0."),
        (lambda: DiscreteTimes(0), "Expected `steps` >= 1, got 0."),
        (lambda: DiscreteTimes(3, first=4), "Expected 1 <= `first` <= `steps` = 3, got 4."),
        (lambda: IndependentTimes(1.0), "Expected 0 <= `t_min` < 1, got 1.0."),
        (lambda: LowDiscrepancyTimes(-0.1), "Expected 0 <= `t_min` < 1, got -0.1."),
    ],
)
def test_errors_say_what_was_expected(make, message):
    with pytest.raises(ValueError, match=message.replace("(", "\\(")):
        make()


def test_stratified_times_are_uniform_in_their_strata_and_vary_less_together(generator):
    low = torch.tensor([0.0, 0.0, 0.5, 0.5])
    times = StratifiedTimes(low, low + 0.5, t_min=0.2)
    draws = torch.stack([times(4, generator=generator) for _ in range(1000)])
    for row, end in zip(draws.T, (0.6, 0.6, 0.2, 0.2), strict=True):
        counts = torch.histc(row, 10, end, end + 0.4)
        assert ((counts - 100) ** 2 / 100).sum() < CHI_SQUARE_9
    # Four independent times have four times this variance.
    assert abs(draws.mean(1).var() / (0.4**2 / 12 / 4) - 1) < 0.2
    with pytest.raises(ValueError, match="Expected 0 <= `t_min` < 1, got 1"):
        StratifiedTimes(low, low, t_min=1.0)
