import math

import numpy as np
import pytest

from discrete_diffusion.eval import confidence_interval, describe


def test_describe_known_answer() -> None:
    result = describe([4.0, 1.0, 3.0, 2.0])
    assert (result.count, result.mean, result.median) == (4, 2.5, 2.5)
    assert (result.lower_quartile, result.upper_quartile) == (1.75, 3.25)


def test_describe_ignores_undefined_values() -> None:
    assert describe([None, 2.0, math.nan]) == describe([2.0])
    assert describe(iter([])) == describe([None, math.nan]) == describe(np.array([]))
    nothing = describe([])
    assert nothing.count == 0
    assert nothing.mean is nothing.median is nothing.lower_quartile is nothing.upper_quartile is None


@pytest.mark.parametrize(
    ("count", "level", "quantile"),
    # From a printed table of Student's t, n - 1 degrees of freedom, two-sided.
    [(2, 0.95, 12.706), (3, 0.95, 4.303), (5, 0.95, 2.776), (11, 0.95, 2.228), (5, 0.99, 4.604), (3, 0.9, 2.920)],
)
def test_interval_matches_the_table_of_student(count: int, level: float, quantile: float) -> None:
    values = [float(i * i) for i in range(count)]
    mean = sum(values) / count
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    result = confidence_interval(values, level)
    assert result.mean == pytest.approx(mean)
    assert result.half_width == pytest.approx(quantile * deviation / math.sqrt(count), rel=2e-4)
    assert result.low == pytest.approx(mean - result.half_width)
    assert result.high == pytest.approx(mean + result.half_width)


def test_interval_covers_as_often_as_its_level() -> None:
    draws = np.random.default_rng(0).normal(3.0, 2.0, (2000, 4))
    results = [confidence_interval(row, 0.8) for row in draws]
    assert sum(r.low < 3.0 < r.high for r in results) / 2000 == pytest.approx(0.8, abs=0.03)


def test_interval_of_one_value_and_of_none() -> None:
    one = confidence_interval([5.0, None, math.nan])
    assert (one.count, one.mean, one.half_width, one.low, one.high) == (1, 5.0, None, None, None)
    none = confidence_interval([])
    assert (none.count, none.mean, none.half_width) == (0, None, None)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_level_is_checked(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        confidence_interval([1.0], level)
