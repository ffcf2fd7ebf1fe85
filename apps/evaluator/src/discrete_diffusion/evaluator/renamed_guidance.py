"""Guidance options of version 0.1 and the options that replace them."""

import re
from collections.abc import Sequence

FORMER = re.compile(r"\b(classifier_free|classifier_based|first_order)_denoiser\b")


def refuse_former_guidance(arguments: Sequence[str]) -> None:
    """Check the command line for guidance options of version 0.1.

    Raises:
        ValueError: If one is chosen; the message has the options that replace it.
    """
    for argument in arguments:
        found = FORMER.search(argument)
        if found is not None and argument.lstrip("+~").startswith("guidance"):
            name = found[1]
            raise ValueError(f"`{found[0]}` is now `guidance={name} guidance.{name}.level=denoiser`.")
