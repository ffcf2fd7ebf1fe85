"""One-line errors."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import OmegaConfBaseException

USER_ERRORS = (ValueError, ImportError, OSError, OmegaConfBaseException)
"""Errors that a user can fix. Every other error is a bug and keeps its traceback."""

Hints: TypeAlias = Mapping[type[Exception], str]
"""Advice for errors of each class, as a clause without a period."""


def shows_tracebacks() -> bool:
    """Return whether the user has set HYDRA_FULL_ERROR=1."""
    return os.environ.get("HYDRA_FULL_ERROR") == "1"


@contextmanager
def report_errors(name: str, hints: Callable[[], Hints] = dict, *, debug: bool | None = None) -> Iterator[None]:
    """Print an error that the user can fix as one line and exit with 2; exit with 130 on Ctrl-C.

    Args:
        name: Name of the command, printed before the message.
        debug: Whether every error is raised as it is; by default with HYDRA_FULL_ERROR=1.
        hints: Function that returns advice to append to the messages of errors, called if there is an error. A class
            without advice of its own takes that of its base class.

    Raises:
        SystemExit: If the block raises an error that the user can fix, or is interrupted.
    """
    debug = shows_tracebacks() if debug is None else debug
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (HydraException, *USER_ERRORS) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        if debug or not isinstance(cause, (*USER_ERRORS, HydraException)):
            raise
        # A progress bar may have left the cursor of a terminal at the end of its line.
        fresh_line = "\n" if sys.stderr.isatty() else ""
        print(f"{fresh_line}{name}: {_message(cause, hints())}", file=sys.stderr)
        raise SystemExit(2) from None


def _message(error: BaseException, hints: Hints) -> str:
    message = str(error).strip() or type(error).__name__
    if isinstance(error, HydraException) and not isinstance(error, InstantiationException):
        message = message.partition("\n")[0]  # the rest lists Hydra's search path
    hint = next((hints[kind] for kind in type(error).__mro__ if kind in hints), None)
    return message if hint is None else f"{message.rstrip('.')}: {hint}."
