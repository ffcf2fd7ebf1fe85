"""Further properties of samples, measured by functions of the user."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from discrete_diffusion.evaluator.domains.domain import Domain, Outcome
from discrete_diffusion.evaluator.user_function import UserFunction

TAKEN = ("string", "canonical", "valid", "novel", "property")
"""Columns of the file of samples, which no property of the user may be named after."""


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
        if name in TAKEN or not str(name).isidentifier():
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
