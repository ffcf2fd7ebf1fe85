"""Data sets of the Hugging Face hub, and errors if it cannot be reached."""

from typing import Any

import datasets


class UnreachableDataError(ConnectionError):
    """A data set cannot be read from the Hugging Face hub."""


class UnreachableTokenizerError(ConnectionError):
    """A tokenizer cannot be read from its folder or the Hugging Face hub."""


def from_hub(name: str, formats: str, **options: Any) -> Any:
    """Return `datasets.load_dataset(name, **options)`, or raise an error of one line.

    Args:
        name: Data set of the hub.
        formats: Files that can be passed as `path` instead, for the message.
        **options: Further arguments of `load_dataset`.

    Raises:
        UnreachableDataError: If it cannot be read.
    """
    try:
        return datasets.load_dataset(name, **options)
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UnreachableDataError(
            f"`{name}` cannot be read from the Hugging Face hub ({reason}): pass {formats} as `path`."
        ) from error
