"""Random number generators of a training run."""

from typing import Any

import lightning as L
import torch
import torch.distributed as dist


class ResumableNoise(L.LightningModule):
    """Lightning module with a seeded generator for its noise, whose state and that of dropout are in its checkpoints.

    A resumed run therefore draws what an uninterrupted one draws, on each rank.

    Attributes:
        seed: Seed of the noise.
        noise: Generator of the noise, from the start of the training on.
    """

    seed: int
    noise: torch.Generator
    _resumed: list[dict[str, Any]] | None = None

    def on_train_start(self) -> None:
        """Seed the noise, or restore the states of the resumed run."""
        self.noise = torch.Generator(self.device).manual_seed(self.seed * 1000 + self.global_rank)
        if self._resumed is not None and self.global_rank < len(self._resumed):
            states = self._resumed[self.global_rank]
            self.noise.set_state(states["objective"])
            torch.set_rng_state(states["dropout"])
            if "cuda" in states and self.device.type == "cuda":
                torch.cuda.set_rng_state(states["cuda"], self.device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the states of the random number generators of all ranks."""
        if not hasattr(self, "noise"):
            return
        mine = {"objective": self.noise.get_state(), "dropout": torch.get_rng_state()}
        if self.device.type == "cuda":
            mine["cuda"] = torch.cuda.get_rng_state(self.device)
        states: list[Any] = [mine]
        if dist.is_available() and dist.is_initialized():
            states = [None] * dist.get_world_size()
            dist.all_gather_object(states, mine)
        checkpoint["noise"] = states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the states until the training starts; older checkpoints have those of the first rank alone."""
        states = checkpoint.get("noise")
        self._resumed = [states] if isinstance(states, dict) else states
