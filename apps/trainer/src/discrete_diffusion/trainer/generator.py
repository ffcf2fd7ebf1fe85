"""Lightning module that trains a generator."""

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from discrete_diffusion.datasets import Augmentation
from discrete_diffusion.processes import Objective
from discrete_diffusion.schedules import draw_rows
from discrete_diffusion.trainer.noise import ResumableNoise


class Generator(ResumableNoise):
    """Training of a network with an objective; labels are dropped at random, so that it also learns to predict without.

    Rows without a label have the null label already. Numbers are dropped together, and each one also alone, so that a
    request may leave some free.

    Args:
        network: Backbone.
        denoiser: Function from a network to log p(x_0 | x_t, y).
        objective: Training loss and validation bound.
        null_label: Replacement of dropped labels; None without classes.
        label_dropout: Fraction of training rows whose label is dropped.
        optimizer: Function from named parameters to an optimizer.
        lr_scheduler: Function from an optimizer to a schedule of its learning rate, stepped with every update.
        seed: Seed of the noise.
        augment: Random augmentation of the training sequences.

    Raises:
        ValueError: If `label_dropout` is not in [0, 1].
    """

    def __init__(
        self,
        network: nn.Module,
        denoiser: Callable[..., Any],
        objective: Objective,
        *,
        null_label: int | None,
        label_dropout: float,
        optimizer: Callable[..., torch.optim.Optimizer],
        lr_scheduler: Callable[..., torch.optim.lr_scheduler.LRScheduler],
        seed: int,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= label_dropout <= 1:
            raise ValueError(f"Expected 0 <= `label_dropout` <= 1, got {label_dropout}.")
        self.network, self.objective = network, objective
        self.make_denoiser, self.make_optimizer, self.make_lr_scheduler = denoiser, optimizer, lr_scheduler
        self.augment, self.null_label, self.label_dropout, self.seed = augment, null_label, label_dropout, seed

    def denoiser(self) -> Callable[..., Tensor]:
        """Return the denoiser of the current network."""
        return self.make_denoiser(network=self.network)

    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the mean of the objective over tokens, in nats."""
        x0, y = self.augmented(self.augment, batch["input_ids"]), batch.get("label")
        if y is not None and self.null_label is not None:

            def uniform(rows: int, source: torch.Generator | None) -> Tensor:
                return torch.rand(rows, generator=source, device=x0.device)

            u = draw_rows(uniform, len(y), self.noise)
            y = y.masked_fill(u < self.label_dropout, self.null_label)
        elif y is not None and y.is_floating_point():
            y = dropped(y, self.label_dropout, self.noise)
        loss = self.objective.loss(self.denoiser(), x0, y, generator=self.noise).mean()
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log the bound on the negative log-likelihood, in nats per sequence."""
        # Lightning averages the numbers of rows of the ranks, and would round the average of integers.
        x0, rows = batch["input_ids"], cast(int, float(self.count_validation_rows(batch, batch_idx)))
        terms = self.objective.terms(self.denoiser(), x0, batch.get("label"), generator=self.validation_noise)
        nll = terms.total.sum(-1).mean()
        self.log("val/nll", nll, prog_bar=True, batch_size=rows, sync_dist=True)
        for name, term in terms._asdict().items():
            self.log(f"val/{name}", term.sum(-1).mean(), batch_size=rows, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Return the optimizer and the schedule of its learning rate."""
        optimizer = self.make_optimizer(self.network.named_parameters())
        schedule = {"scheduler": self.make_lr_scheduler(optimizer), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def dropped(values: Float[Tensor, "b m"], dropout: float, generator: torch.Generator) -> Float[Tensor, "b m"]:
    """Return numbers of which some are missing, NaN: all of a row with this probability, and then each of several."""
    u = torch.rand(len(values), 1 + values.shape[1], generator=generator, device=values.device)
    missing = u[:, :1] < dropout
    if values.shape[1] > 1:
        missing = missing | (u[:, 1:] < dropout)
    return values.masked_fill(missing, torch.nan)
