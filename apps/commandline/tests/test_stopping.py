import signal
from collections.abc import Callable
from unittest import mock

import pytest

from discrete_diffusion.commandline import stopping
from discrete_diffusion.commandline.stopping import SIGNALS, Stopped, exit_code, postpone_stops, stop_on_signals


def run(task: Callable[[], None]) -> None:
    with stop_on_signals():
        task()


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 138), ("SIGHUP", 129)])
def test_a_signal_interrupts_the_task_and_becomes_the_exit_code(name: str, code: int):
    before, seen = [signal.getsignal(one) for one in SIGNALS], []

    def task() -> None:
        try:
            signal.raise_signal(getattr(signal, name))
            seen.append("after the signal")
        except KeyboardInterrupt as error:
            seen.append(exit_code(error))
            raise

    with pytest.raises(SystemExit) as stop:
        run(task)
    assert stop.value.code == code
    assert seen == [code]
    assert [signal.getsignal(one) for one in SIGNALS] == before


def test_a_request_that_is_sent_twice_does_not_interrupt_the_work_of_stopping():
    done = []

    def task() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except Stopped:
            signal.raise_signal(signal.SIGTERM)
            done.append("saved")
            signal.raise_signal(signal.SIGHUP)

    times = mock.patch.object(stopping.time, "monotonic", side_effect=[10.0, 10.5, 12.0])
    with times, pytest.raises(SystemExit) as stop:
        run(task)
    assert done == ["saved"]
    assert stop.value.code == 129


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run(lambda: signal.raise_signal(signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_postponed_signal_stops_after_the_block(name: str, code: int):
    done = []

    def task() -> None:
        with postpone_stops():
            done.append("first")
            signal.raise_signal(getattr(signal, name))
            done.append("second")
        done.append("after the block")

    with pytest.raises(SystemExit) as stop:
        run(task)
    assert done == ["first", "second"]
    assert stop.value.code == code


def test_postponed_signals_are_those_of_the_handlers_of_the_time():
    before, done = [signal.getsignal(one) for one in SIGNALS], []

    @postpone_stops()
    def finish():
        signal.raise_signal(signal.SIGINT)
        done.append("whole")

    @postpone_stops()
    def fail():
        signal.raise_signal(signal.SIGINT)
        raise ZeroDivisionError

    with pytest.raises(KeyboardInterrupt):
        finish()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert done == ["whole"]
    assert [signal.getsignal(one) for one in SIGNALS] == before
