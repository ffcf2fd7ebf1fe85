"""Summary statistics and confidence intervals."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Description:
    """Mean and quartiles of values; all None if there are no values.

    Args:
        count: Number of values.
        mean: Mean.
        lower_quartile: 25th percentile.
        median: Median.
        upper_quartile: 75th percentile.
    """

    count: int
    mean: float | None
    lower_quartile: float | None
    median: float | None
    upper_quartile: float | None


@dataclass(frozen=True)
class ConfidenceInterval:
    """Mean of values and its confidence interval.

    Args:
        count: Number of values.
        mean: Mean, None without values.
        half_width: Half the width of the interval, None for fewer than two values.
        level: Level of the interval, in (0, 1).
    """

    count: int
    mean: float | None
    half_width: float | None
    level: float

    @property
    def low(self) -> float | None:
        """Lower end of the interval, None for fewer than two values."""
        return None if self.mean is None or self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """Upper end of the interval, None for fewer than two values."""
        return None if self.mean is None or self.half_width is None else self.mean + self.half_width


def _defined(values: Iterable[float | None]) -> np.ndarray:
    return np.array([value for value in values if value is not None and not math.isnan(value)], dtype=np.float64)


def describe(values: Iterable[float | None]) -> Description:
    """Return count, mean and quartiles of values, with linear interpolation between order statistics.

    Args:
        values: Values; None and NaN mean "undefined" and are not counted.
    """
    defined = _defined(values)
    if not len(defined):
        return Description(0, None, None, None, None)
    lower, median, upper = (float(q) for q in np.quantile(defined, [0.25, 0.5, 0.75]))
    return Description(len(defined), float(defined.mean()), lower, median, upper)


def confidence_interval(values: Iterable[float | None], level: float = 0.95) -> ConfidenceInterval:
    """Return Student's interval for the mean of independent values, such as one per seed.

        mean ± t_{n-1, (1+level)/2} · s / √n

    Args:
        values: Values; None and NaN mean "undefined" and are not counted.
        level: Level of the interval.

    Raises:
        ValueError: If `level` is not inside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"Expected `level` inside (0, 1), got {level}.")
    defined = _defined(values)
    n = len(defined)
    if n < 2:
        return ConfidenceInterval(n, float(defined[0]) if n else None, None, level)
    quantile = float(stats.t.ppf(0.5 + 0.5 * level, n - 1))
    return ConfidenceInterval(n, float(defined.mean()), quantile * float(defined.std(ddof=1)) / math.sqrt(n), level)
