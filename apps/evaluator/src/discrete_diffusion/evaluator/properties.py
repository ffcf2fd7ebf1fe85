"""Functions of the user from a string to a number."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from discrete_diffusion.evaluator.domains.domain import Domain, Outcome

TAKEN = ("string", "canonical", "valid", "novel", "property")
"""Columns of the file of samples, which no property of the user may be named after."""


@dataclass(frozen=True)
class UserFunction:
    """Function from a string to a number.

    Args:
        function: Returns None or NaN for a string that has no number.
        name: Name of the function in messages, such as "reward qed".
        readable: Function from a string to the one that `function` receives.
    """

    function: Callable[[str], Any]
    name: str
    readable: Callable[[str], str] = str

    def __call__(self, string: str) -> float | None:
        """Return the number of a string, None if it has none.

        Raises:
            ValueError: If the function fails or returns no number.
        """
        try:
            value = self.function(self.readable(string))
        except Exception as error:  # of any kind, since the code is the user's
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise ValueError(f"The {self.name} failed on {string!r}: {reason}") from error
        if value is not None and not isinstance(value, Real):
            raise ValueError(f"Expected the {self.name} to return a number, got {value!r} of {string!r}.")
        return None if value is None or math.isnan(value) else float(value)


def build_properties(config: DictConfig | None, domain: Domain, example: str) -> dict[str, UserFunction]:
    """Return the functions of the setting `properties`, which take samples, by name, after a trial on `example`.

    Args:
        config: The setting: for each name the path of a function, or a `_target_` with further arguments.
        domain: Kind of data.
        example: String of the data.

    Raises:
        ValueError: If a name is taken by another column, or a function does not return a number.
    """
    settings: Any = {} if config is None else OmegaConf.to_container(config, resolve=True)
    found: dict[str, UserFunction] = {}
    for name, one in settings.items():
        if name in TAKEN or not name.isidentifier():
            raise ValueError(
                f"Expected names of `properties` of letters, digits and _ other than {', '.join(TAKEN)}, got {name}."
            )
        function = instantiate({"_partial_": True, **({"_target_": one} if isinstance(one, str) else one)})
        found[name] = UserFunction(function, f"property {name}", domain.readable)
        found[name](example)
    return found


def with_properties(
    outcome: Outcome, properties: Mapping[str, Callable[[str], float | None]], domain: Domain
) -> Outcome:
    """Return an outcome with one more column of samples for each property, and its mean over the valid samples."""
    samples = [dict(row) for row in outcome.samples]
    numbers = dict(outcome.numbers)
    for name, function in properties.items():
        known: dict[str, float | None] = {}
        for row in samples:
            string = row["string"]
            if string not in known:
                known[string] = function(string) if domain.accepts(string) else None
            row[name] = known[string]
        values = [row[name] for row in samples if row[name] is not None]
        numbers[f"mean_{name}"] = float(np.mean(values)) if values else None
    return replace(outcome, numbers=numbers, samples=samples)
