"""Several processes that share the work of one command."""

import itertools
import os
import pickle
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from hydra.errors import InstantiationException
from torch import Tensor

from discrete_diffusion.commandline.errors import is_for_the_user

STORE = "DISCRETE_DIFFUSION_STORE"
"""Environment variable with the address at which the processes of `devices` meet."""
PATIENCE = timedelta(days=30)
"""Time that a process waits for the others, which may draw samples or compute metrics for days."""
POLL = 0.01
"""Seconds between two looks at a message, so that a signal is answered while a process waits."""
SIGNALED = 0.5
"""Seconds in which a signal reaches every process of a group."""
GRACE = 10.0
"""Seconds in which a process ends after SIGTERM, before it is killed."""

T = TypeVar("T")


class LostProcessError(OSError):
    """Another process has ended before its work was done."""


@dataclass(frozen=True)
class Ranks:
    """Position of this process among those that share the work; one process alone by default.

    The first process computes metrics, writes files and prints; the others compute their share of the samples.

    Attributes:
        rank: Number of this process, from 0.
        count: Number of processes.
        local: Number of this process among those on the same machine, which is also that of its CUDA device.
    """

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    def share(self, items: Iterable[T]) -> list[tuple[int, T]]:
        """Return this process's share of the items with their numbers: every `count`-th, from `rank` on."""
        return [(number, item) for number, item in enumerate(items) if number % self.count == self.rank]

    def gather(self, own: T) -> list[T]:
        """Return the value of every process, in the order of ranks. All processes must call it.

        Raises:
            LostProcessError: If another process has ended.
            Exception: On the first process, the error that another one has failed with.
        """
        return [own] if self.count == 1 else self._exchange(own)

    def collect(self, own: Sequence[tuple[int, T]]) -> list[T]:
        """Return the results for all items of `share` in their order. All processes must call it."""
        everything = itertools.chain.from_iterable(self.gather(list(own)))
        return [result for _, result in sorted(everything, key=lambda pair: pair[0])]

    def broadcast(self, value: T) -> T:
        """Return the value of the first process. All processes must call it."""
        return self.gather(value)[0]

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """Run the block on the first process, and then on the others, which find the files that it has cached."""
        if not self.first:
            self.gather(None)
        yield
        if self.first:
            self.gather(None)

    def fail(self, error: Exception) -> None:
        """Send an error of another process to the first one, and wait for its end.

        Raises:
            LostProcessError: Once the first process has ended.
        """
        self._exchange(_portable(error), failed=True)

    def _exchange(self, own: Any, *, failed: bool = False) -> list[Any]:
        payload = torch.frombuffer(bytearray(pickle.dumps(own)), dtype=torch.uint8)
        headers = _all_gather(torch.tensor([len(payload), failed]), self.count)
        longest = max(int(header[0]) for header in headers)
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(payload)] = payload
        # Every message comes from a process of the same command.
        received = [
            pickle.loads(message[: int(header[0])].numpy().tobytes())
            for header, message in zip(headers, _all_gather(padded, self.count), strict=True)
        ]
        for header, message in zip(headers, received, strict=True):
            if header[1]:
                if self.first:
                    raise message
                # A launcher ends the other processes when the first of them ends: the one that prints the error has to.
                while True:
                    _all_gather(torch.zeros(2, dtype=torch.int64), self.count)
        return received


ALONE = Ranks()
"""One process that does all the work."""


@contextmanager
def open_ranks(devices: int | None, command: Sequence[str]) -> Iterator[Ranks]:
    """Join the processes of a launcher such as torchrun, or start `devices` of them.

    An error of any process is raised on the first one, and ends all of them. Processes that were started here end with
    the block.

    Args:
        devices: Number of processes; None is that of the launcher, or one.
        command: Arguments of the evaluator that start another process.

    Raises:
        ValueError: If the launcher has started another number of processes.
        LostProcessError: On the first process, if another one has ended.
        SystemExit: On the others, with code 2, after an error of any process.
    """
    ranks = launched(devices)
    children: list[subprocess.Popen[bytes]] = []
    if ranks.count == 1 and devices in (None, 1):
        yield ranks
        return
    try:
        if STORE in os.environ:
            store = _store(int(os.environ[STORE]))
            _connect(ranks, store, [])
        elif ranks.count > 1:
            dist.init_process_group("gloo", timeout=PATIENCE)
        else:
            assert devices is not None
            ranks = Ranks(count=devices)
            store = _store(None)
            children += _start(devices, store.port, command)
            _connect(ranks, store, children)
        try:
            yield ranks
        except LostProcessError:
            raise
        except Exception as error:
            if ranks.first:
                raise
            ranks.fail(error)
        for child in children:
            child.wait()
        dist.destroy_process_group()
    except LostProcessError:
        if ranks.first:
            raise
        raise SystemExit(2) from None
    finally:
        _end(children)


def launched(devices: int | None = None) -> Ranks:
    """Return the position of this process among those of a launcher, from RANK, WORLD_SIZE and LOCAL_RANK.

    Args:
        devices: Number of processes that is set, None if none is.

    Raises:
        ValueError: If a variable is missing or no number, or the launcher has started another number of processes.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return Ranks()
    try:
        rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local = int(os.environ.get("LOCAL_RANK", rank))
    except (KeyError, ValueError):
        raise ValueError(
            "Expected numbers in RANK, WORLD_SIZE and LOCAL_RANK, as torchrun sets them: unset WORLD_SIZE for one "
            "process."
        ) from None
    if devices not in (None, count):
        raise ValueError(f"Expected `devices` to be the {count} processes of WORLD_SIZE, got {devices}: leave it out.")
    return Ranks(rank, count, local)


def _store(port: int | None) -> dist.TCPStore:
    return dist.TCPStore("127.0.0.1", port or 0, is_master=port is None, wait_for_workers=False)


def _connect(ranks: Ranks, store: dist.TCPStore, children: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until all processes are there, and connect to them.

    Raises:
        LostProcessError: If one has ended.
    """
    store.add("arrived", 1)
    # The first process waits here, where it sees when another one has ended.
    while children and store.add("arrived", 0) < ranks.count:
        for rank, child in enumerate(children, 1):
            if child.poll() is not None:
                raise LostProcessError(f"Process {rank} of {ranks.count} has ended with code {child.returncode}.")
        time.sleep(POLL)
    dist.init_process_group("gloo", store=store, rank=ranks.rank, world_size=ranks.count, timeout=PATIENCE)


def _start(count: int, port: int, command: Sequence[str]) -> list[subprocess.Popen[bytes]]:
    """Start the processes from 1 on, which share the cores with this one."""
    threads = max(1, (os.cpu_count() or 1) // count)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads)
    shared = {"OMP_NUM_THREADS": str(threads)} | os.environ | {STORE: str(port), "WORLD_SIZE": str(count)}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "discrete_diffusion.evaluator", *command],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rank in range(1, count)
    ]


def _end(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.terminate()
    for child in children:
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _all_gather(own: Tensor, count: int) -> list[Tensor]:
    received = [torch.empty_like(own) for _ in range(count)]
    try:
        work = dist.all_gather(received, own, async_op=True)
        assert work is not None
        while not work.is_completed():
            time.sleep(POLL)
        work.wait()
    except RuntimeError as error:
        # A signal to all processes may have ended another one first.
        time.sleep(SIGNALED)
        raise LostProcessError("Another process of this command has ended before its work was done.") from error
    return received


def _portable(error: BaseException) -> BaseException:
    """Return an error that another process can raise, with the traceback as a note."""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever the class of the error raises
        kind = ValueError if is_for_the_user(error) else RuntimeError
        return kind(str(error) if kind is ValueError else f"{type(error).__name__}: {error}")
    return error
