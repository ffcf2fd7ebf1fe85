"""Stops on request of a terminal or a scheduler."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name))
SAME_REQUEST = 1.0
"""Seconds within which further signals count as the first: some programs send one to a process and to its group."""


class Stopped(KeyboardInterrupt):
    """Stop of the command on a signal.

    Attributes:
        signum: The signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"Stopped by {signal.Signals(signum).name}.")
        self.signum = signum


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise `Stopped` in the block on SIGINT, SIGTERM, SIGUSR1 or SIGHUP, as Python does for Ctrl-C alone.

    Signals that the process ignores, as under nohup, stay ignored. Outside the main thread, nothing changes.

    Raises:
        SystemExit: If the block raises `Stopped` or KeyboardInterrupt, with 128 + the number of the signal.
    """
    requested: list[float] = []

    def request(signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not requested or now - requested[0] > SAME_REQUEST:
            requested[:] = [now]
            raise Stopped(signum)

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {one: handler for one in SIGNALS if (handler := signal.getsignal(one)) is not signal.SIG_IGN}
    try:
        for one in before:
            signal.signal(one, request)
        yield
    except KeyboardInterrupt as stop:
        raise SystemExit(exit_code(stop)) from None
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def postpone_stops() -> Iterator[None]:
    """Hold back signals that stop the command until the end of the block, whose steps belong together.

    Outside the main thread, nothing changes.

    Raises:
        KeyboardInterrupt: At the end, after a signal in the block; `Stopped` in a block of `stop_on_signals`.
    """
    held: list[tuple[int, FrameType | None]] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {one: handler for one in SIGNALS if callable(handler := signal.getsignal(one))}
    try:
        for one in before:
            signal.signal(one, lambda signum, frame: held.append((signum, frame)))
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    if held:
        signum, frame = held[0]
        before[signal.Signals(signum)](signum, frame)


def exit_code(stop: KeyboardInterrupt) -> int:
    """Return the exit code of a command that was stopped: 128 + the number of the signal, 130 for Ctrl-C."""
    return 128 + (stop.signum if isinstance(stop, Stopped) else signal.SIGINT)
