"""The Lightning module that trains a generator, whatever its process."""

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from discrete_diffusion.datasets import Augmentation
from discrete_diffusion.processes import Objective


class Generator(L.LightningModule):
    """A network that learns an objective; labels are dropped now and then, so that it also learns to do without.

    Args:
        network: the backbone.
        denoiser: from a network to log p(x_0 | x_t, y).
        objective: what is descended and what the model is measured by.
        null_label: what a dropped label becomes, or None where there are no labels.
        label_dropout: the share of training rows whose label is dropped.
        optimizer: from named parameters to an optimizer.
        lr_scheduler: from an optimizer to a schedule of its learning rate, stepped with every update.
        seed: of the noise.
        augment: what is done to training sequences first, each time.
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
        self.resumed_noise: dict[str, Tensor] | None = None

    def denoiser(self) -> Callable[..., Tensor]:
        """The denoiser of the network as it stands, in float32 under any precision."""
        return self.make_denoiser(network=lambda *args, **kwargs: self.network(*args, **kwargs).float())

    def on_train_start(self) -> None:
        """Seed the noise, or take it up where the resumed run left it."""
        self.noise = torch.Generator(self.device).manual_seed(self.seed * 1000 + self.global_rank)
        if self.resumed_noise is not None:
            self.noise.set_state(self.resumed_noise["objective"])
            torch.set_rng_state(self.resumed_noise["dropout"])

    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        """The objective's mean over tokens, in nats."""
        x0, y = batch["input_ids"], batch.get("label")
        if self.augment is not None:
            x0 = self.augment(x0, self.noise)
        if y is not None and self.null_label is not None:
            u = torch.rand(y.shape, generator=self.noise, device=y.device)
            y = y.masked_fill(u < self.label_dropout, self.null_label)
        loss = self.objective.loss(self.denoiser(), x0, y, generator=self.noise).mean()
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """The same noise in every validation, so that its values compare."""
        self.validation_noise = torch.Generator(self.device).manual_seed(self.seed)

    def validation_step(self, batch: dict[str, Tensor]) -> None:
        """The bound on the negative log-likelihood, in nats per sequence."""
        x0 = batch["input_ids"]
        terms = self.objective.terms(self.denoiser(), x0, batch.get("label"), generator=self.validation_noise)
        nll = terms.total.sum(-1).mean()
        self.log("val/nll", nll, prog_bar=True, batch_size=len(x0), sync_dist=True)
        for name, term in terms._asdict().items():
            self.log(f"val/{name}", term.sum(-1).mean(), batch_size=len(x0), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """The optimizer, and the schedule of its learning rate."""
        optimizer = self.make_optimizer(self.network.named_parameters())
        schedule = {"scheduler": self.make_lr_scheduler(optimizer), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of every generator of random numbers, so that a resumed run is the same run."""
        if hasattr(self, "noise"):
            checkpoint["noise"] = {"objective": self.noise.get_state(), "dropout": torch.get_rng_state()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the random numbers up where they were."""
        self.resumed_noise = checkpoint.get("noise")
