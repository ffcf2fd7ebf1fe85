"""Data sets of the Hugging Face hub, and errors if it cannot be reached."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import constants, get_session

import datasets

SECONDS = 10
"""Seconds within which the hub must answer."""


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
        with offline_if_unreachable():
            return datasets.load_dataset(name, **options)
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UnreachableDataError(
            f"`{name}` cannot be read from the Hugging Face hub ({reason}): pass {formats} as `path`."
        ) from error


@contextmanager
def offline_if_unreachable() -> Iterator[None]:
    """Let the clients of the hub read their caches alone if it does not answer; they would retry for a minute."""
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    if not any(before):
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = not _answers()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _answers() -> bool:
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except Exception:
        return False
    return True
