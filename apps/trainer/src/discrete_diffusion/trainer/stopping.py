"""Stops on request: at the end of a step, in a validation, and while samples are drawn."""

import signal
import threading
import time
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, Self, TypeVar

import lightning as L
from lightning.pytorch.callbacks import WeightAveraging

from discrete_diffusion.commandline.stopping import SAME_REQUEST, SIGNALS

Value = TypeVar("Value")


class Stopped(BaseException):
    """Stop of the run on a signal.

    Attributes:
        signum: The signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"Stopped by {signal.Signals(signum).name}.")
        self.signum = signum


class Stop(L.Callback):
    """Callback that stops a run between two optimizer steps after SIGINT, SIGTERM, SIGUSR1 or SIGHUP.

    A step that has begun is finished, with all its batches and its update of the averaged weights, so that the state
    that is saved is one that an uninterrupted run has too. Validations and samples do not change that state, and are
    left at once; with several ranks, which must stop together, they are finished. A second Ctrl-C stops at once,
    without saving.

    Use it as a context manager around `fit`: it handles the signals inside. Signals that the process ignores, as under
    nohup, stay ignored.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.before: dict[int, Any] = {}
        self.requested_at = 0.0
        self.in_step = False
        self.step = 0
        self.finished = False

    def __enter__(self) -> Self:
        """Handle the signals."""
        if threading.current_thread() is threading.main_thread():
            self.before = {one: signal.getsignal(one) for one in SIGNALS}
            self.before = {one: handler for one, handler in self.before.items() if handler is not signal.SIG_IGN}
            self._handle()
        return self

    def __exit__(self, *error: object) -> None:
        """Restore the handlers."""
        for one, handler in self.before.items():
            signal.signal(one, handler)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the step, and replace the handlers that Lightning has installed."""
        self.step = trainer.global_step
        self._handle()
        self._stop_if_requested(trainer)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note that a step has begun."""
        self.in_step = True

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop if the batch was the last of its step."""
        if trainer.global_step == self.step:
            return
        self.step, self.in_step = trainer.global_step, False
        self._stop_if_requested(trainer)

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Stop, with the weights of the training in place of the averaged ones."""
        if self._leaves(trainer):
            for callback in averages(trainer):
                callback.on_validation_epoch_end(trainer, pl_module)
            self._stop_if_requested(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note that the training has come to its end."""
        self.finished = True

    def watched(self, trainer: L.Trainer, values: Iterable[Value]) -> Iterator[Value]:
        """Yield the values, and stop between two of them."""
        for value in values:
            if self._leaves(trainer):
                self._stop_if_requested(trainer)
            yield value

    def _leaves(self, trainer: L.Trainer) -> bool:
        return self.signum is not None and not self.in_step and trainer.world_size == 1

    def _stop_if_requested(self, trainer: L.Trainer) -> None:
        requested = self.signum is not None
        if trainer.world_size > 1:
            requested = trainer.strategy.reduce_boolean_decision(requested, all=False)
        if requested:
            raise Stopped(signal.SIGTERM if self.signum is None else self.signum)

    def _handle(self) -> None:
        for one in self.before:
            signal.signal(one, self._request)

    def _request(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signum == signum == signal.SIGINT and now - self.requested_at > SAME_REQUEST:
            raise KeyboardInterrupt
        if self.signum is None:
            self.signum, self.requested_at = signum, now


def averages(trainer: L.Trainer) -> list[WeightAveraging]:
    """Return the callbacks that average the weights."""
    return [one for one in trainer.callbacks if isinstance(one, WeightAveraging)]  # type: ignore[attr-defined]


def ignore_signals(worker: int) -> None:
    """Leave the signals that a terminal or a scheduler sends to all processes to the process that trains.

    A data loader whose worker ends early raises an error in the middle of a step.
    """
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
