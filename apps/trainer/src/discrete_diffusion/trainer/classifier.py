"""Lightning module that trains a classifier."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from discrete_diffusion.datasets import Augmentation
from discrete_diffusion.trainer.classifier_views import View
from discrete_diffusion.trainer.noise import ResumableNoise
from discrete_diffusion.trainer.prediction_targets import Target, by_level


class Classifier(ResumableNoise):
    """Training of a network that predicts a target from a view of a sequence.

    Args:
        network: Network (x, sigma) -> outputs, with `prefixes` if the view requires it.
        view: Input of the network, as a function of the sequence.
        target: Prediction target.
        optimizer: Function from named parameters to an optimizer.
        lr_scheduler: Function from an optimizer to a schedule of its learning rate, stepped with every update.
        draws: Number of views of each validation sequence, for random views.
        seed: Seed of the noise.
        augment: Random augmentation of the training sequences.

    Attributes:
        by_level: Measures of the last validation at each level.
        overall: Measures of the last validation over all levels.

    Raises:
        ValueError: If `draws` is below 1.
    """

    def __init__(
        self,
        network: nn.Module,
        view: View,
        target: Target,
        *,
        optimizer: Callable[..., torch.optim.Optimizer],
        lr_scheduler: Callable[..., torch.optim.lr_scheduler.LRScheduler],
        draws: int,
        seed: int,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__()
        if draws < 1:
            raise ValueError(f"Expected `draws` >= 1, got {draws}.")
        self.network, self.view, self.target, self.augment = network, view, target, augment
        self.make_optimizer, self.make_lr_scheduler = optimizer, lr_scheduler
        self.draws, self.seed = draws if view.random else 1, seed
        self.by_level: list[Mapping[str, float | None]] = []
        self.overall: dict[str, float | None] = {}

    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the mean loss over all counted positions, in nats."""
        batch = {**batch, "input_ids": self.augmented(self.augment, batch["input_ids"])}
        outputs, answers, _ = self._see(batch, self.noise)
        losses = self.target.loss(outputs, answers)
        loss = losses.mean()
        if self._processes > 1:
            # Ranks may count different numbers of positions, and DDP averages their gradients.
            count = torch.tensor(len(losses), device=losses.device, dtype=torch.float32)
            loss = loss * (count / self.trainer.strategy.reduce(count.clone(), reduce_op="mean"))
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Seed the noise and forget the last validation."""
        super().on_validation_epoch_start()
        self.seen: list[tuple[Tensor, ...]] = []

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Collect the outputs, because the measures need all of them."""
        rows = self.count_validation_rows(batch, batch_idx)
        for _ in range(self.draws):
            seen = self._see(batch, self.validation_noise)
            self.seen.append(tuple(part.cpu() if rows else part[:0].cpu() for part in seen))

    def on_validation_epoch_end(self) -> None:
        """Compute the measures over all ranks and by level."""
        outputs, answers, levels = (_gathered(torch.cat(parts)) for parts in zip(*self.seen, strict=True))
        self.seen = []
        nats = self.target.loss(outputs, answers).mean().item()
        self.overall = {"loss": nats, **self.target.measure(outputs, answers)}
        self.by_level = [] if self.view.levels is None else by_level(self.target, outputs, answers, levels)
        for name, value in self.overall.items():
            if value is not None:
                self.log(f"val/{name}", value, prog_bar=name == "loss", sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Return the optimizer and the schedule of its learning rate."""
        optimizer = self.make_optimizer(self.network.named_parameters())
        schedule = {"scheduler": self.make_lr_scheduler(optimizer), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def _see(self, batch: dict[str, Tensor], noise: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return the counted outputs (n, outputs) in float32, the answers (n,) and the levels (n,)."""
        seen = self.view(self.network, batch["input_ids"], generator=noise)
        answers = batch[self.target.column][:, None].expand_as(seen.levels)
        return seen.outputs[seen.counted].float(), answers[seen.counted], seen.levels[seen.counted]


def _gathered(mine: Tensor) -> Tensor:
    """Return the rows of all ranks, whose numbers may differ."""
    if not (dist.is_available() and dist.is_initialized()):
        return mine
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, mine)
    return torch.cat(parts)
