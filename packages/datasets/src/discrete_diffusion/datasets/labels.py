"""Class labels from a column, and numbers from several.

A row has no label where its column is null, NaN or blank. Its class id is the null label, `num_classes`, with which a
generator trains without a condition. A number is NaN there.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import ge, gt, le, lt
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

import datasets

COMPARISONS = {">": gt, ">=": ge, "<": lt, "<=": le}
_ROWS_PER_CLASS = 2
_ALWAYS_CLASSES = 20  # as many classes may have a single row each
_LARGEST = 1e100  # squares of numbers stay finite
_OPPOSITE = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}


class TooManyClassesError(ValueError):
    """A column has too many distinct values to be classes."""


@runtime_checkable
class Label(Protocol):
    """Map from the values of a column to class ids."""

    @property
    def column(self) -> str:
        """Column of the values."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class, by id."""

    @property
    def num_classes(self) -> int:
        """Number of classes, which is also the index of the null label."""

    def fit(self, rows: datasets.Dataset) -> "Label":
        """Return the label itself, which is fitted."""

    def ids(self, rows: datasets.Dataset) -> np.ndarray:
        """Return the class id of each row, int64; `num_classes` for a row without a label."""

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON that `label_from_dict` reads."""


class LabelRule(Protocol):
    """Rule that becomes a `Label` when it is fitted to data; a `Label` is a rule as well."""

    def fit(self, rows: datasets.Dataset) -> Label:
        """Return the label that is fitted to these rows."""


@dataclass(frozen=True)
class PercentileLabel:
    """Two classes on either side of a percentile of a numeric column.

        y = 1 if value > threshold else 0,    threshold = percentile of the column over all labeled rows

    as in Schiff et al., arXiv 2412.10193, whose code takes the percentile (linear interpolation) over the whole data
    set, before the train-validation split, and puts values at or below it into class 0. That matters where values tie:
    with QM9's ring counts, class 1 is more than 3 rings and not 3 or more. `comparison` chooses another rule for
    class 1, such as "<=" with `percentile=10` for the lowest tenth.

    Raises:
        ValueError: If `percentile` is not in (0, 100), or `comparison` is unknown.
    """

    column: str = "qed"
    percentile: float = 90.0
    comparison: str = ">"

    def __post_init__(self) -> None:
        if not 0 < self.percentile < 100:
            raise ValueError(f"Expected 0 < `percentile` < 100, got {self.percentile}.")
        _check_comparison(self.comparison)

    def fit(self, rows: datasets.Dataset) -> "ThresholdLabel":
        """Return the label whose threshold is the percentile of `rows`.

        Raises:
            ValueError: If the column does not hold finite numbers, or all rows are in one class.
        """
        values = _numbers(rows, self.column)
        values = values[~np.isnan(values)]
        _expect_labels(len(values), self.column)
        fitted = ThresholdLabel(self.column, float(np.percentile(values, self.percentile)), self.comparison)
        if len(set(fitted.ids(rows).tolist()) - {fitted.num_classes}) < 2:
            raise ValueError(
                f"Expected both classes to have members, but every row has the same side of {fitted.class_names[1]!r}: "
                "choose another `percentile` or `comparison`."
            )
        return fitted


@dataclass(frozen=True)
class ThresholdLabel:
    """Class 1 if a numeric column compares with a threshold as `comparison` says, else class 0.

    Raises:
        ValueError: If `comparison` is unknown.
    """

    column: str
    threshold: float
    comparison: str = ">"

    def __post_init__(self) -> None:
        _check_comparison(self.comparison)

    @property
    def class_names(self) -> tuple[str, str]:
        """Names of both classes, such as "qed <= 0.554" and "qed > 0.554"."""
        number = f"{self.threshold:.4g}"
        return f"{self.column} {_OPPOSITE[self.comparison]} {number}", f"{self.column} {self.comparison} {number}"

    @property
    def num_classes(self) -> int:
        """Number of classes, 2."""
        return 2

    def fit(self, rows: datasets.Dataset) -> "ThresholdLabel":
        """Return the label itself, which is fitted."""
        return self

    def ids(self, rows: datasets.Dataset) -> np.ndarray:
        """Return the class id of each row, int64; 2 for a row without a label.

        Raises:
            ValueError: If the column does not hold finite numbers.
        """
        values = _numbers(rows, self.column)
        classes = COMPARISONS[self.comparison](values, self.threshold).astype(np.int64)
        return np.where(np.isnan(values), self.num_classes, classes)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON that `label_from_dict` reads."""
        return asdict(self)


@dataclass(frozen=True)
class CategoryLabel:
    """One class for each distinct value of a column of strings, integers or booleans, in sorted order.

    Attributes:
        column: Column of the classes.
        max_classes: Largest number of classes.
    """

    column: str
    max_classes: int = 1000

    def fit(self, rows: datasets.Dataset) -> "FittedCategoryLabel":
        """Return the label whose classes are the distinct values in `rows`.

        Raises:
            TooManyClassesError: If there are more than `max_classes`, or too many for the number of rows.
            ValueError: If the values are not strings, integers or booleans, or there is only one.
        """
        labeled = [value for value in _values(rows, self.column) if value is not None]
        _expect_labels(len(labeled), self.column)
        values = set(labeled)
        kinds = {type(value) for value in values}
        if len(kinds) != 1 or not kinds <= {str, int, bool}:
            raise ValueError(
                f"Expected strings or integers in the column {self.column!r}, got "
                f"{', '.join(sorted(kind.__name__ for kind in kinds))}: use `PercentileLabel` for numbers."
            )
        if len(values) < 2:
            raise ValueError(f"Expected at least two classes in the column {self.column!r}, got {len(values)}.")
        _expect_few(len(values), len(labeled), self.max_classes, self.column, repr(sorted(values)[0]))
        return FittedCategoryLabel(self.column, tuple(str(value) for value in sorted(values)))


@dataclass(frozen=True)
class FittedCategoryLabel:
    """Class of a row: the index of its value in `class_names`."""

    column: str
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """Number of distinct values."""
        return len(self.class_names)

    def fit(self, rows: datasets.Dataset) -> "FittedCategoryLabel":
        """Return the label itself, which is fitted."""
        return self

    def ids(self, rows: datasets.Dataset) -> np.ndarray:
        """Return the class id of each row, int64; `num_classes` for a row without a label.

        Raises:
            ValueError: If a row has none of the classes.
        """
        place = {name: i for i, name in enumerate(self.class_names)}
        values = [None if value is None else str(value) for value in _values(rows, self.column)]
        unknown = sorted({value for value in values if value is not None} - set(place))
        if unknown:
            raise ValueError(f"Expected the classes {', '.join(place)} in {self.column!r}, got {', '.join(unknown)}.")
        return np.array([self.num_classes if one is None else place[one] for one in values], dtype=np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON that `label_from_dict` reads."""
        return {"column": self.column, "class_names": list(self.class_names)}


@dataclass(frozen=True)
class JointLabel:
    """One class for each combination of the classes of several rules, as in "qed > 0.554, ring_count > 3".

    Only combinations that occur in the data are classes: the embedding of any other would never be trained, and a
    request for it would return arbitrary samples. Classes are in the order of their parts' classes, the first part
    first. A row in which one of the columns has no value has no label.

    Attributes:
        labels: Rules, or dictionaries of their arguments: `{column: qed, percentile: 90}` is a `PercentileLabel`,
            `{column: logp, threshold: 3, comparison: "<="}` a `ThresholdLabel`, `{column: species}` a `CategoryLabel`.
        max_classes: Largest number of combinations.

    Raises:
        ValueError: If there are fewer than two rules.
    """

    labels: Sequence[LabelRule | Mapping[str, Any]]
    max_classes: int = 1000

    def __post_init__(self) -> None:
        rules = tuple(_rule(one) if isinstance(one, Mapping) else one for one in self.labels)
        if len(rules) < 2:
            raise ValueError(f"Expected at least two rules in `labels`, got {len(rules)}.")
        object.__setattr__(self, "labels", rules)

    def fit(self, rows: datasets.Dataset) -> "FittedJointLabel":
        """Return the label whose classes are the combinations in `rows`.

        Raises:
            TooManyClassesError: If there are more than `max_classes`, or too many for the number of rows.
            ValueError: If a rule cannot be fitted, two are of one column, or there is only one combination.
        """
        parts = tuple(rule.fit(rows) for rule in self.labels if not isinstance(rule, Mapping))
        columns = [part.column for part in parts]
        if len(set(columns)) < len(columns):
            raise ValueError(f"Expected different columns in `labels`, got {', '.join(columns)}.")
        found = [combination for combination in _combinations(parts, rows) if combination is not None]
        name = ", ".join(columns)
        _expect_labels(len(found), name)
        combinations = tuple(sorted(set(found)))
        fitted = FittedJointLabel(parts, combinations)
        if len(combinations) < 2:
            raise ValueError(f"Expected at least two combinations of classes, got only {fitted.class_names[0]!r}.")
        _expect_few(len(combinations), len(found), self.max_classes, name, repr(fitted.class_names[0]))
        return fitted


@dataclass(frozen=True)
class FittedJointLabel:
    """Class of a row: the index of its combination of classes.

    Attributes:
        labels: Fitted label of each column.
        combinations: Class of each part, for each class.
    """

    labels: tuple[Label, ...]
    combinations: tuple[tuple[int, ...], ...]

    @property
    def column(self) -> str:
        """Names of the columns, such as "qed, ring_count"."""
        return ", ".join(label.column for label in self.labels)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class, such as "qed > 0.554, species = human"."""
        return tuple(
            ", ".join(_full_name(label, index) for label, index in zip(self.labels, combination, strict=True))
            for combination in self.combinations
        )

    @property
    def num_classes(self) -> int:
        """Number of combinations."""
        return len(self.combinations)

    def fit(self, rows: datasets.Dataset) -> "FittedJointLabel":
        """Return the label itself, which is fitted."""
        return self

    def ids(self, rows: datasets.Dataset) -> np.ndarray:
        """Return the class id of each row, int64; `num_classes` for a row without one of the labels.

        Raises:
            ValueError: If a row has none of the combinations.
        """
        place = {combination: i for i, combination in enumerate(self.combinations)}
        found = _combinations(self.labels, rows)
        unknown = sorted({one for one in found if one is not None} - set(place))
        if unknown:
            name = FittedJointLabel(self.labels, (unknown[0],)).class_names[0]
            raise ValueError(f"Expected the classes {'; '.join(self.class_names)}, got {name}.")
        return np.array([self.num_classes if one is None else place[one] for one in found], dtype=np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON that `label_from_dict` reads."""
        combinations = [list(combination) for combination in self.combinations]
        return {"labels": [label.to_dict() for label in self.labels], "combinations": combinations}


@dataclass(frozen=True)
class ValueLabel:
    """Numbers of one or several columns as the condition itself, rather than as classes.

    A row without one of the numbers is used with the others, and a row without any is used without a condition.

    Attributes:
        column: Column, or list of columns.

    Raises:
        ValueError: If there is no column, or one occurs twice.
    """

    column: str | Sequence[str]

    def __post_init__(self) -> None:
        columns = self.columns
        if not columns or len(set(columns)) < len(columns):
            raise ValueError(f"Expected one or several different columns in `column`, got {list(columns)}.")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return (self.column,) if isinstance(self.column, str) else tuple(self.column)

    def fit(self, rows: datasets.Dataset) -> "FittedValueLabel":
        """Return the label with the mean and standard deviation of each column of `rows`.

        Raises:
            ValueError: If a column is missing, does not hold finite numbers, or is constant.
        """
        means, stds = [], []
        for column in self.columns:
            values = _numbers(rows, column)
            values = values[~np.isnan(values)]
            _expect_labels(len(values), column)
            means.append(float(values.mean()))
            stds.append(float(values.std()))
            if not 0 < stds[-1] < math.inf:
                raise ValueError(f"Expected different numbers in the column {column!r}, got {means[-1]:g} throughout.")
        return FittedValueLabel(self.columns, tuple(means), tuple(stds))


@dataclass(frozen=True)
class FittedValueLabel:
    """Condition of a row: its numbers in standard units, (number - mean) / standard deviation.

    Attributes:
        columns: Names of the columns.
        means: Mean of each column.
        stds: Standard deviation of each column.
    """

    columns: tuple[str, ...]
    means: tuple[float, ...]
    stds: tuple[float, ...]

    @property
    def column(self) -> str:
        """Names of the columns, such as "qed, logp"."""
        return ", ".join(self.columns)

    def fit(self, rows: datasets.Dataset) -> "FittedValueLabel":
        """Return the label itself, which is fitted."""
        return self

    def values(self, rows: datasets.Dataset) -> np.ndarray:
        """Return the numbers of each row in standard units, float32 (rows, columns); NaN where there is none.

        Raises:
            ValueError: If a column is missing or does not hold finite numbers.
        """
        return self._standardized(np.stack([_numbers(rows, column) for column in self.columns], -1))

    def request(self, numbers: float | Sequence[float | None] | Mapping[str, float | None]) -> np.ndarray:
        """Return requested numbers in standard units, float32 (columns,); NaN for those left free.

        Args:
            numbers: A number for each column in order, None to leave it free, or numbers by the names of their columns.
                For one column, the number itself.

        Raises:
            ValueError: If a column is unknown, a number is missing or not finite, or all are left free.
        """
        if isinstance(numbers, Mapping):
            unknown = [str(name) for name in numbers if name not in self.columns]
            if unknown:
                raise ValueError(f"Expected numbers of {self.column}, got {', '.join(unknown)}.")
            numbers = [numbers.get(column) for column in self.columns]
        elif isinstance(numbers, int | float):
            numbers = [numbers]
        if isinstance(numbers, str) or not isinstance(numbers, Sequence) or len(numbers) != len(self.columns):
            several = f"{len(self.columns)} numbers, of {self.column}" if len(self.columns) > 1 else "one number"
            raise ValueError(f"Expected {several}, got {numbers!r:.80}.")
        for number in numbers:
            if number is not None and not _finite(number):
                raise ValueError(f"Expected finite numbers of {self.column}, got {number!r:.80}.")
        if all(number is None for number in numbers):
            raise ValueError(f"Expected a number of {self.column}, got none.")
        return self._standardized(np.array([math.nan if one is None else one for one in numbers], dtype=np.float64))

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON that `from_dict` reads."""
        return {"columns": list(self.columns), "means": list(self.means), "stds": list(self.stds)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "FittedValueLabel":
        """Rebuild the label from its `to_dict()`.

        Raises:
            ValueError: If the fields describe none.
        """
        columns, means, stds = (fields.get(name) for name in ("columns", "means", "stds"))
        if not (isinstance(columns, list) and isinstance(means, list) and isinstance(stds, list)) or len(fields) > 3:
            raise ValueError(f"expected lists `columns`, `means` and `stds` in a label, got {dict(fields)!r:.80}")
        if not columns or not len(columns) == len(means) == len(stds):
            raise ValueError(f"expected as many `means` and `stds` as `columns` in a label, got {dict(fields)!r:.80}")
        if not all(isinstance(name, str) for name in columns) or len(set(columns)) < len(columns):
            raise ValueError(f"expected different names as the `columns` of a label, got {columns!r:.80}")
        if not all(map(_finite, [*means, *stds])) or min(stds) <= 0:
            raise ValueError(f"expected finite `means` and positive `stds` of a label, got {dict(fields)!r:.80}")
        return cls(tuple(columns), tuple(map(float, means)), tuple(map(float, stds)))

    def _standardized(self, numbers: np.ndarray) -> np.ndarray:
        return ((numbers - self.means) / self.stds).astype(np.float32)


def label_from_dict(fields: dict[str, Any]) -> Label:
    """Rebuild a fitted label from its `to_dict()`."""
    if "labels" in fields:
        combinations = tuple(tuple(combination) for combination in fields["combinations"])
        return FittedJointLabel(tuple(map(label_from_dict, fields["labels"])), combinations)
    if "threshold" in fields:
        return ThresholdLabel(**fields)
    return FittedCategoryLabel(fields["column"], tuple(fields["class_names"]))


def save_label(label: Label | FittedValueLabel, path: str | os.PathLike[str]) -> None:
    """Write a fitted label as JSON."""
    Path(path).write_text(json.dumps(label.to_dict(), indent=2) + "\n", encoding="utf-8")


def load_label(path: str | os.PathLike[str]) -> Label | FittedValueLabel:
    """Read a fitted label that `save_label` wrote."""
    fields = json.loads(Path(path).read_text(encoding="utf-8"))
    return FittedValueLabel.from_dict(fields) if "columns" in fields else label_from_dict(fields)


def _rule(fields: Mapping[str, Any]) -> LabelRule:
    """Return the rule with these arguments.

    Raises:
        ValueError: If no rule has them.
    """
    kinds = {"percentile": PercentileLabel, "threshold": ThresholdLabel}
    kind: Any = next((kind for name, kind in kinds.items() if name in fields), CategoryLabel)
    if "column" not in fields:
        raise ValueError(f"Expected a `column` in each of `labels`, got {dict(fields)}.")
    try:
        return kind(**fields)
    except TypeError as error:
        raise ValueError(f"Expected arguments of `{kind.__name__}` in `labels`, got {dict(fields)}.") from error


def _combinations(labels: Sequence[Label], rows: datasets.Dataset) -> list[tuple[int, ...] | None]:
    """Return the class of each label, for each row; None for a row without one of them."""
    nulls = [label.num_classes for label in labels]
    each_row = zip(*(label.ids(rows).tolist() for label in labels), strict=True)
    return [None if any(i == null for i, null in zip(ids, nulls, strict=True)) else ids for ids in each_row]


def _full_name(label: Label, index: int) -> str:
    """Return the name of a class, with its column."""
    name = label.class_names[index]
    return f"{label.column} = {name}" if isinstance(label, FittedCategoryLabel) else name


def _finite(number: Any) -> bool:
    known = isinstance(number, int | float | np.integer | np.floating) and not isinstance(number, bool)
    return known and bool(abs(number) < 1e300)


def _check_comparison(comparison: str) -> None:
    if comparison not in COMPARISONS:
        raise ValueError(f"Expected `comparison` to be one of {', '.join(COMPARISONS)}, got {comparison!r}.")


def _expect_labels(labeled: int, column: str) -> None:
    if not labeled:
        raise ValueError(f"Expected a value in at least one row of the column {column!r}.")


def _expect_few(classes: int, labeled: int, most: int, column: str, example: str) -> None:
    if classes > most or (classes > _ALWAYS_CLASSES and labeled / classes < _ROWS_PER_CLASS):
        raise TooManyClassesError(
            f"Expected classes with at least {_ROWS_PER_CLASS} rows on average and at most {most} of them "
            f"(`max_classes`) in the column {column!r}, got {classes:,} distinct values in {labeled:,} rows, such as "
            f"{example}: group them into fewer classes, or use `PercentileLabel` if they are numbers."
        )


def _values(rows: datasets.Dataset, column: str) -> list[Any]:
    """Return the values of a column; None where a row has no label.

    Raises:
        ValueError: If there is no such column.
    """
    if column not in rows.column_names:
        raise ValueError(f"Expected a column {column!r} for the label; the columns are {', '.join(rows.column_names)}.")
    values = rows.with_format(None)[column][:]
    return [None if _missing(value) else value for value in values]


def _missing(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def _numbers(rows: datasets.Dataset, column: str) -> np.ndarray:
    """Return the numbers of a column, float64; NaN where a row has no label.

    Raises:
        ValueError: If a value is not a finite number.
    """
    values = [math.nan if value is None else value for value in _values(rows, column)]
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Expected numbers in the column {column!r}: {error}.") from error
    if np.isinf(numbers).any():
        raise ValueError(f"Expected finite numbers in the column {column!r}.")
    if (abs(numbers) > _LARGEST).any():
        raise ValueError(f"Expected numbers from -{_LARGEST:g} to {_LARGEST:g} in the column {column!r}.")
    return numbers
