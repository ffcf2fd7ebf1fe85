"""Advice when the disk is full."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def advise_on_full_disk(advice: str) -> Iterator[None]:
    """Add advice to the error if the disk or the quota is full.

    Args:
        advice: Sentence after "The disk is full: ".

    Raises:
        OSError: If the block raises one; with the advice if the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OSError(f"The disk is full: {advice}") from error
