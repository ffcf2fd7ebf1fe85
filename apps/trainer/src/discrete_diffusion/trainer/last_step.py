"""Validation and saving at the last step."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint


class FinalValidation(L.Callback):
    """Validation after the last step, whether or not `steps` is a multiple of `validate_every`."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Request a stop after the last step, since Lightning validates before it stops."""
        if trainer.global_step == trainer.max_steps:
            trainer.should_stop = True


class Checkpoints(ModelCheckpoint):
    """Lightning's `ModelCheckpoint`, which also saves the last step."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save every `every_n_train_steps` steps and after the last."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if trainer.global_step == trainer.max_steps and not self._should_skip_saving_checkpoint(trainer):
            candidates = self._monitor_candidates(trainer)
            self._save_topk_checkpoint(trainer, candidates)
            self._save_last_checkpoint(trainer, candidates)
