"""Function of the user from a string to a number."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any


@dataclass(frozen=True)
class UserFunction:
    """Function from a string to a number.

    Args:
        function: Returns None or NaN for a string that has no number.
        name: Name of the function in messages, such as "reward qed".
        readable: Function from a string to the one that `function` receives.
        optional: Whether the function may return None.
    """

    function: Callable[[str], Any]
    name: str
    readable: Callable[[str], str] = str
    optional: bool = True

    def __call__(self, string: str) -> float | None:
        """Return the number of a string, None if it has none.

        Raises:
            ValueError: If the function fails or returns no number.
        """
        try:
            value = self.function(self.readable(string))
        except (Exception, SystemExit) as error:  # of any kind, since the code is the user's
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise ValueError(f"The {self.name} failed on {string!r:.80}: {reason}") from error
        if value is None and self.optional:
            return None
        number = _as_float(value)
        if number is None:
            raise ValueError(f"Expected the {self.name} to return a number, got {value!r:.80} of {string!r:.80}.")
        return None if self.optional and math.isnan(number) else number


def _as_float(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, Real) else None
    except OverflowError:  # of an integer
        return None
