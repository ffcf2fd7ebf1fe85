"""Steps whose loss or gradient is not finite."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from omegaconf import DictConfig
from safetensors.torch import save_file
from torch import Tensor

from discrete_diffusion.trainer.fitting import TrainingRun, print_above_progress_bar

KEPT = 100
"""Number of batches that are kept."""


class NonFiniteError(ValueError):
    """The loss or the gradient was not finite for too many steps in a row."""


class SkipNonFinite(L.Callback):
    """Callback that skips and counts steps with a non-finite loss or gradient, and keeps their batches.

    A skipped step changes neither weights nor the state of the optimizer. With 16-mixed precision, gradients that
    overflow are part of the scaling, which skips their steps itself; only the loss is checked.

    Args:
        directory: Folder of the batches, `step-NUMBER.safetensors` each.
        most: Number of skipped steps in a row after which the run stops.

    Raises:
        ValueError: If `most` < 1.
    """

    def __init__(self, directory: Path, most: int) -> None:
        if most < 1:
            raise ValueError(f"Expected `max_skipped_steps` >= 1, got {most}.")
        self.directory, self.most = directory, most
        self.count = self.in_row = 0
        self._batches: list[Mapping[str, Tensor]] = []
        self._losses: list[Tensor] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the batch until its step is done."""
        self._batches.append(batch)

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        """Keep the loss until the step is done."""
        self._losses.append(loss.detach() * trainer.accumulate_grad_batches)

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Drop the gradients if the loss or one of them is not finite.

        Raises:
            NonFiniteError: If it is the last of too many steps in a row.
        """
        batches, loss = self._batches, torch.stack(self._losses).float().mean()
        self._batches, self._losses = [], []
        finite = loss.isfinite()
        parameters = [one for group in optimizer.param_groups for one in group["params"]]
        gradients = [one.grad for one in parameters if one.grad is not None]
        if trainer.precision != "16-mixed" and gradients:
            finite = finite & torch.stack(torch._foreach_norm(gradients)).isfinite().all()
        if trainer.strategy.reduce_boolean_decision(bool(finite), all=True):
            self.in_row = 0
            return
        for parameter in parameters:
            parameter.grad = None
        self.count, self.in_row = self.count + 1, self.in_row + 1
        step, rate = trainer.global_step + 1, optimizer.param_groups[0]["lr"]
        self._keep(trainer, batches, step)
        cause = f"the loss is {loss.item():.3g} at a learning rate of {rate:.2g}"
        if not self.in_row < self.most:
            raise NonFiniteError(
                f"Stopped at step {step}: {cause}, and loss or gradient were not finite for {self.in_row} steps in a "
                f"row, whose batches are in {self.directory}. Try a lower learning rate, a longer warm-up or "
                "trainer.precision=32-true, from the last checkpoint with resume=RUN."
            )
        if trainer.is_global_zero and self.count <= KEPT:
            kept = f"; {self.count} skipped so far"
            print_above_progress_bar(trainer, f"step {step} skipped: loss or gradient is not finite, {cause}{kept}")

    def state_dict(self) -> dict[str, Any]:
        """Return the number of skipped steps."""
        return {"count": self.count, "in_row": self.in_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the number of skipped steps."""
        self.count, self.in_row = state_dict["count"], state_dict["in_row"]

    def _keep(self, trainer: L.Trainer, batches: list[Mapping[str, Tensor]], step: int) -> None:
        if self.count > KEPT:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        rank = f"-rank-{trainer.global_rank}" if trainer.world_size > 1 else ""
        columns = {name: torch.cat([batch[name] for batch in batches]).cpu().contiguous() for name in batches[0]}
        save_file(columns, self.directory / f"step-{step:06d}{rank}.safetensors")


def skip_non_finite(config: DictConfig, run: TrainingRun) -> SkipNonFinite:
    """Build the callback of a run; runs of version 0.1 have no `max_skipped_steps`."""
    return SkipNonFinite(run.directory / "skipped", config.get("max_skipped_steps", 10))
