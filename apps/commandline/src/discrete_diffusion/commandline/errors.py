"""One-line errors."""

import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import ConfigAttributeError, MissingMandatoryValue, OmegaConfBaseException

USER_ERRORS = (ValueError, ImportError, OSError, MemoryError, OmegaConfBaseException, HydraException)
"""Errors that a user can fix."""
LIBRARY_ERRORS = {
    "lightning": ("MisconfigurationException",),
    "pyarrow": ("ArrowException",),
    "safetensors_rust": ("SafetensorError",),
    "datasets": ("DatasetsError",),
    "torch": ("OutOfMemoryError",),
}
"""Errors of libraries about what the user has set or what a file holds, by the library, which is not imported here."""
BUG = 70
"""Exit code of an error that is neither: EX_SOFTWARE of sysexits.h."""
CLOSED_PIPE = 141
"""Exit code of a command whose output nobody reads any more: 128 + SIGPIPE."""

Hints: TypeAlias = Mapping[type[Exception], str]
"""Advice for errors of each class, as a clause without a period."""


def shows_tracebacks() -> bool:
    """Return whether the user has set HYDRA_FULL_ERROR=1."""
    return os.environ.get("HYDRA_FULL_ERROR") == "1"


def is_for_the_user(error: BaseException) -> bool:
    """Return whether an error tells the user what to fix; every other one is a bug."""
    if isinstance(error, InstantiationException):
        cause = error.__cause__
        return cause is None or is_for_the_user(cause) or _refuses_arguments(cause)
    if isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error):
        return True
    return isinstance(error, USER_ERRORS) or any(
        kind.__name__ in LIBRARY_ERRORS.get(kind.__module__.partition(".")[0], ()) for kind in type(error).__mro__
    )


def _refuses_arguments(error: BaseException) -> bool:
    """Return whether the call of a target failed before its code ran: it takes other arguments than the settings."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return isinstance(error, TypeError) and bool(frames) and frames[-1].f_globals["__name__"].startswith("hydra.")


@contextmanager
def report_errors(name: str, hints: Callable[[], Hints] = dict, *, debug: bool | None = None) -> Iterator[None]:
    """Print an error as one line, and exit with 2 if the user can fix it, with 70 if it is a bug, 130 on Ctrl-C.

    The traceback of a bug is written to a file that the line names. If the reader of standard output has closed it,
    as `head` does, the exit code is 141 and nothing is printed.

    Args:
        name: Name of the command, printed before the message.
        debug: Whether every error is raised as it is; by default with HYDRA_FULL_ERROR=1.
        hints: Function that returns advice to append to the messages of errors, called if there is an error. A class
            without advice of its own takes that of its base class.

    Raises:
        SystemExit: If the block raises an error, or is interrupted.
    """
    debug = shows_tracebacks() if debug is None else debug
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader of the output, such as `head`, has enough; what is still buffered must go somewhere at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(CLOSED_PIPE) from None
    except Exception as error:
        if debug:
            raise
        # A progress bar may have left the cursor of a terminal at the end of its line.
        fresh_line = "\n" if sys.stderr.isatty() else ""
        if is_for_the_user(error):
            place = _place(error) if isinstance(_cause(error), TypeError) else ""
            print(f"{fresh_line}{name}: {place}{_message(_cause(error), hints())}", file=sys.stderr)
            raise SystemExit(2) from None
        print(f"{fresh_line}{name}: {_describe_bug(error, name)}", file=sys.stderr)
        raise SystemExit(BUG) from None


def _cause(error: BaseException) -> BaseException:
    """Return the error behind a failed instantiation."""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _place(error: BaseException) -> str:
    """Return the beginning of a message with the setting whose target refuses its arguments."""
    _, named, key = str(error).rpartition("full_key: ")
    return f"The target of `{key}` does not take its settings: " if named else ""


def _describe_bug(error: BaseException, name: str) -> str:
    text = "".join(traceback.format_exception(error))
    cause = _cause(error)
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="replace", prefix=f"{name}-", suffix=".log", delete=False
        ) as file:
            file.write(text)
        where = f"the traceback is in {file.name}"
    except OSError:
        where = "set HYDRA_FULL_ERROR=1 to see the traceback"
    reason = next(iter(str(cause).strip().splitlines()), "")
    return f"This is a bug, not a mistake of yours: {type(cause).__name__}: {reason:.200}. Please report it; {where}."


def _message(error: BaseException, hints: Hints) -> str:
    message = " ".join(str(error).split("\n\n")[0].split()) or type(error).__name__
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in message:
        message = f"The memory of this machine does not suffice: {message:.200}"
    if isinstance(error, OSError) and error.strerror and error.filename:
        message = f"{error.strerror}: {error.filename}"
    if isinstance(error, MissingMandatoryValue):
        message = f"Expected a value for `{error.full_key}`: it has none by default."
    elif isinstance(error, ConfigAttributeError) and error.full_key:
        message = f"Expected the setting `{error.full_key}`, but it was removed."
    elif isinstance(error, OmegaConfBaseException):
        message = str(error).strip().partition("\n")[0]  # the rest is the key and the type of the node
    elif isinstance(error, HydraException) and not isinstance(error, InstantiationException):
        message = str(error).strip().partition("\n")[0]  # the rest lists Hydra's search path
    hint = next((hints[kind] for kind in type(error).__mro__ if kind in hints), None)
    return message if hint is None else f"{message.rstrip('.')}: {hint}."
