"""Data sets of the Hugging Face hub."""

from typing import Any

import datasets


def from_hub(name: str, formats: str, **options: Any) -> Any:
    """`datasets.load_dataset` of a data set of the hub; what cannot be reached is one clear line.

    Args:
        formats: what a local `path` could be instead, for the message.
        options: the function's.

    Raises:
        ConnectionError: if it cannot be read.
    """
    try:
        return datasets.load_dataset(name, **options)
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConnectionError(
            f"`{name}` cannot be read from the Hugging Face hub ({reason}): "
            f"pass {formats} as `path` (`data.path=` on the command line)."
        ) from error
