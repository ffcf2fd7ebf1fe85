"""Random number generators of a training run."""

from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from torch import Tensor

from discrete_diffusion.datasets import Augmentation
from discrete_diffusion.schedules import BatchGenerator
from discrete_diffusion.trainer.batches import DataModule, recount_batches


class ResumableNoise(L.LightningModule):
    """Lightning module with seeded generators for its noise, whose states and those of dropout are in its checkpoints.

    A resumed run therefore draws what an uninterrupted one draws. The noise of a row depends on the step and on the
    index of the row in the global batch, whatever the number of processes and of accumulated batches. Dropout and code
    that draws without `draw_rows` have other numbers in each process.

    Attributes:
        seed: Seed of the noise.
        noise: Generator of the noise, from the start of the training on.
        validation_noise: Generator of the noise of a validation, the same in all of them.
    """

    seed: int
    noise: torch.Generator
    validation_noise: torch.Generator
    _resumed: list[dict[str, Any]] | None = None
    _step_state: Tensor

    def on_train_start(self) -> None:
        """Seed the noise, or restore the states of the resumed run."""
        self.noise = self._seeded(self.seed * 1000, split=self._passes > 1)
        if self._processes > 1:
            torch.manual_seed(self.seed * 1000 + self.global_rank)
        if self._resumed is None:
            return
        _whole(self.noise).set_state(self._resumed[0]["objective"])
        if self.global_rank < len(self._resumed):
            states = self._resumed[self.global_rank]
            if isinstance(self.noise, BatchGenerator) and "own" in states:
                self.noise.set_state(states["own"])
            torch.set_rng_state(states["dropout"])
            if "cuda" in states and self.device.type == "cuda":
                torch.cuda.set_rng_state(states["cuda"], self.device)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Point the noise to the rows of this process and of this one of the accumulated batches."""
        if not isinstance(self.noise, BatchGenerator):
            return
        accumulated, size = batch_idx % self.trainer.accumulate_grad_batches, len(batch["input_ids"])
        if accumulated == 0:
            self._step_state = self.noise.whole.get_state()
        else:
            self.noise.whole.set_state(self._step_state)
        self.noise.rows = self._passes * size
        self.noise.first = (accumulated * self._processes + self.global_rank) * size

    def on_validation_epoch_start(self) -> None:
        """Seed the noise, so that all validations use the same noise."""
        self.validation_noise = self._seeded(self.seed, split=self._processes > 1)

    def count_validation_rows(self, batch: Any, batch_idx: int) -> int:
        """Point the noise to the rows of this process in a batch of the validation, and return their number.

        The number is 0 if the process has only a filler row, which must be left out of the results.

        Raises:
            ValueError: If a run with several processes has other data loaders than those of a `DataModule`.
        """
        if not isinstance(self.validation_noise, BatchGenerator):
            return len(batch["input_ids"])
        batches = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(batches, DataModule):
            raise ValueError("Expected the data loaders of a `DataModule` for validations in several processes.")
        rows, whole = batches.validation_rows(batch_idx)
        self.validation_noise.rows = len(whole)
        self.validation_noise.first = rows.start - whole.start if rows else 0
        return len(rows)

    def augmented(self, augment: Augmentation | None, x0: Tensor) -> Tensor:
        """Return the sequences with their random changes."""
        if augment is None:
            return x0
        noise = self.noise
        if not isinstance(noise, BatchGenerator):
            return augment(x0, noise)
        # The other rows of the batch are in other processes. Any rows in their place leave the noise of these as it is.
        places = (torch.arange(noise.rows, device=x0.device) - noise.first) % len(x0)
        return augment(x0[places], noise.whole)[noise.first : noise.first + len(x0)]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the states of the random number generators of all ranks."""
        if not hasattr(self, "noise"):
            return
        mine = {"objective": _whole(self.noise).get_state(), "dropout": torch.get_rng_state()}
        if isinstance(self.noise, BatchGenerator):
            mine["own"] = self.noise.get_state()
        if self.device.type == "cuda":
            mine["cuda"] = torch.cuda.get_rng_state(self.device)
        states: list[Any] = [mine]
        if dist.is_available() and dist.is_initialized():
            states = [None] * dist.get_world_size()
            dist.all_gather_object(states, mine)
        checkpoint["noise"] = states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the states until the training starts; older checkpoints have those of the first rank alone."""
        if self._trainer is not None:
            recount_batches(checkpoint, self._trainer.accumulate_grad_batches)
        states = checkpoint.get("noise")
        self._resumed = [states] if isinstance(states, dict) else states

    @property
    def _processes(self) -> int:
        return 1 if self._trainer is None else self._trainer.world_size

    @property
    def _passes(self) -> int:
        """Number of forward passes that make one step, in all processes."""
        return 1 if self._trainer is None else self._processes * self._trainer.accumulate_grad_batches

    def _seeded(self, seed: int, *, split: bool) -> torch.Generator:
        if not split:
            return torch.Generator(self.device).manual_seed(seed)
        noise = BatchGenerator(self.device)
        noise.whole.manual_seed(seed)
        # The large prime keeps this seed apart from those of other runs.
        noise.manual_seed((seed + 1) * 1_000_003 + self.global_rank)
        return noise


def _whole(noise: torch.Generator) -> torch.Generator:
    return noise.whole if isinstance(noise, BatchGenerator) else noise
