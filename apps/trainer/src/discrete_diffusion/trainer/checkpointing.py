"""Checkpoints of a training run, and the validation after its last step."""

import logging
import os
import time
from pathlib import Path
from typing import Any, BinaryIO

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from discrete_diffusion.trainer.stopping import Stopped

LOG = logging.getLogger(__name__)


class FinalValidation(L.Callback):
    """Validation after the last step, whether or not `steps` is a multiple of `validate_every`."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Request a stop after the last step, since Lightning validates before it stops."""
        if trainer.global_step == trainer.max_steps:
            trainer.should_stop = True


class Checkpoints(ModelCheckpoint):
    """Lightning's `ModelCheckpoint`, which saves only between two steps, only finite weights, and the last step too.

    Args:
        every_n_minutes: Minutes after which `last.ckpt` is saved, beside the saves by steps.
        options: Arguments of `ModelCheckpoint`.

    Raises:
        ValueError: If `every_n_minutes` is negative.
    """

    def __init__(self, *, every_n_minutes: float = 10.0, **options: Any) -> None:
        if every_n_minutes < 0:
            raise ValueError(f"Expected `every_n_minutes` >= 0, got {every_n_minutes}.")
        # With a counter, a run that is resumed in its own folder would leave its last.ckpt and write last-v1.ckpt.
        super().__init__(**{"enable_version_counter": False, **options})
        self.every_n_minutes = every_n_minutes
        self._first = self._step = 0
        self._saved_at = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        super().on_train_start(trainer, pl_module)
        self._first = self._step = trainer.global_step
        self._saved_at = time.monotonic()
        if trainer.global_rank == 0 and self.dirpath is not None:
            for leftover in Path(self.dirpath).glob(".*.partial"):
                leftover.unlink(missing_ok=True)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save every `every_n_train_steps` steps, every `every_n_minutes` minutes, and after the last step."""
        # Of a step of several batches, only the last leaves a state that a resumed run can start from.
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self._should_skip_saving_checkpoint(trainer):
            return
        candidates = self._monitor_candidates(trainer)
        if trainer.global_step == trainer.max_steps:
            self._save_topk_checkpoint(trainer, candidates)
            self._save_last_checkpoint(trainer, candidates)
        elif trainer.strategy.broadcast(time.monotonic() - self._saved_at >= 60 * self.every_n_minutes):
            self._save_last_checkpoint(trainer, candidates)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save `last.ckpt` if the run is stopped on request, which is between two steps.

        After an error, a part of a step may be missing, or the averaged weights be in place of those in training. The
        checkpoint before then stays.
        """
        stepped = trainer.global_step > self._first
        if isinstance(exception, Stopped) and stepped and self._should_save_on_exception(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def _save_checkpoint(self, trainer: L.Trainer, filepath: str) -> None:
        if all(bool(one.isfinite().all()) for one in trainer.lightning_module.parameters()):
            super()._save_checkpoint(trainer, filepath)
        else:
            LOG.warning("The weights are not finite at step %d, and are not saved.", trainer.global_step)
        self._saved_at = time.monotonic()


class WholeFiles(TorchCheckpointIO):
    """Writer of checkpoints that are there whole or not at all.

    A checkpoint is written beside its place, on the same device, synced and renamed. The previous one stays until then.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        try:
            with partial.open("wb") as file:
                _save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


def _save(checkpoint: dict[str, Any], file: BinaryIO) -> None:
    """Write a checkpoint into an open file.

    Raises:
        OSError: If the disk is full or fails.
        RuntimeError: If PyTorch cannot write it for another reason.
    """
    try:
        torch.save(checkpoint, file)
    except RuntimeError as error:
        # After a failed write, PyTorch closes its archive and reports only that this has failed too.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
