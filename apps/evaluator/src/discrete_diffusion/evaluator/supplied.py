"""Arguments in the configuration that the evaluator fills in."""

from functools import partial
from typing import Any

SUPPLIED = "???"
"""Value of such an argument in the configuration."""


def supply(function: Any, settings: Any, argument: str, value: Any) -> tuple[Any, bool]:
    """Return a partial with `value` wherever its settings leave `argument` open, and whether they do.

    Args:
        function: What Hydra has built of the settings, a partial of partials.
        settings: The settings, as plain containers.
        argument: Name of the argument, at any depth.
        value: Its value.
    """
    if not isinstance(function, partial):
        return function, False
    found = settings.get(argument) == SUPPLIED
    keywords = {argument: value} if found else {}
    for name, inner in function.keywords.items():
        keywords[name], inside = supply(inner, settings.get(name), argument, value)
        found = found or inside
    return partial(function.func, *function.args, **keywords), found
