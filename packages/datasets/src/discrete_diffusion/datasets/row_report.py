"""Counts of the rows that are dropped or changed between a source and its token sequences."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

Action: TypeAlias = Literal["dropped", "cut", "altered", "kept", "unconditional"]

SHOWN = 5
"""Row numbers kept for each change."""

DROP_REASON = "drop_reason"
"""Column of strings with which a source marks rows to drop; null = keep. `sequence_data` drops and counts them."""


class TooManyRowsDroppedError(ValueError):
    """More rows would be dropped than `max_dropped` allows."""


class UnreadableStringsError(ValueError):
    """A tokenizer cannot be built from some of the strings.

    Attributes:
        strings: Positions of these strings, from 0.
        reason: What is wrong with them, such as "not SMILES".
    """

    def __init__(self, message: str, strings: Sequence[int], reason: str) -> None:
        super().__init__(message)
        self.strings = tuple(strings)
        self.reason = reason


@dataclass(frozen=True)
class RowChange:
    """Rows to which the same thing happens.

    Attributes:
        action: Whether the rows are dropped, cut, altered otherwise, kept although they look wrong, or used without a
            condition.
        reason: Cause, as in "longer than 32 tokens".
        count: Number of rows.
        rows: Numbers of the first of them, counted from 1 in the order of the source.
        example: What happens to the first of them, as in "'acgt' becomes 'ACGT'".
    """

    action: Action
    reason: str
    count: int
    rows: tuple[int, ...]
    example: str | None = None

    @classmethod
    def of(cls, action: Action, reason: str, positions: np.ndarray, example: str | None = None) -> "RowChange":
        """Build from all positions, counted from 0."""
        return cls(action, reason, len(positions), tuple(int(i) + 1 for i in positions[:SHOWN]), example)

    def numbered(self, numbers: np.ndarray) -> "RowChange":
        """Return the same change with row i renamed `numbers[i - 1]`."""
        return replace(self, rows=tuple(int(numbers[row - 1]) for row in self.rows))

    def describe(self, total: int) -> str:
        """Return one line, such as "12 of 500 rows (2.4%) dropped: blank (rows 3, 17, ...)"."""
        more = ", ..." if self.count > len(self.rows) else ""
        named = f"{'row' if self.count == 1 else 'rows'} {', '.join(map(str, self.rows))}{more}"
        share = _share(self.count / max(total, 1))
        example = "" if self.example is None else f": {self.example}"
        return f"{self.count:,} of {total:,} rows ({share}) {self.action}: {self.reason} ({named}){example}"


@dataclass(frozen=True)
class RowReport:
    """Every row of a source that does not reach the model as it was written.

    Row numbers count from 1 and leave out a header. Of a source with its own split, the validation rows follow the
    training rows.

    Attributes:
        total: Rows of the source.
        changes: Changes by reason, in the order in which they are made.
    """

    total: int
    changes: tuple[RowChange, ...] = ()

    @property
    def dropped(self) -> int:
        """Number of dropped rows."""
        return sum(change.count for change in self.changes if change.action == "dropped")

    def describe(self) -> str:
        """Return one line for each change; the empty string if there is none."""
        return "\n".join(change.describe(self.total) for change in self.changes)

    def without_unlabeled(self) -> "RowReport":
        """Return the report of the rows that a classifier uses: those without a label are dropped."""
        changes = (
            replace(change, action="dropped") if change.action == "unconditional" else change for change in self.changes
        )
        return replace(self, changes=tuple(changes))

    def check(self, max_dropped: float) -> None:
        """Refuse to drop more than a share of the rows.

        Raises:
            TooManyRowsDroppedError: If more than `max_dropped` of all rows are dropped.
        """
        if self.dropped > max_dropped * self.total:
            lines = [change.describe(self.total) for change in self.changes if change.action == "dropped"]
            raise TooManyRowsDroppedError(
                f"Expected at most {_share(max_dropped)} of the rows to be dropped (`max_dropped`), got "
                f"{_share(self.dropped / self.total)}. {'; '.join(lines)}."
            )


def merged(changes: Iterable[RowChange]) -> tuple[RowChange, ...]:
    """Join changes with one action and reason, such as those of training and validation rows."""
    joined: dict[tuple[str, str], RowChange] = {}
    for change in changes:
        key = change.action, change.reason
        if (before := joined.get(key)) is not None:
            rows = (*before.rows, *change.rows)[:SHOWN]
            change = replace(before, count=before.count + change.count, rows=rows)
        joined[key] = change
    return tuple(joined.values())


def _share(share: float) -> str:
    return f"{share:.2g}%" if (share := 100 * share) < 10 else f"{share:.0f}%"
