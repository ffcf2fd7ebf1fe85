"""Samples of the model during training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import lightning as L
import torch

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.datasets import decode
from discrete_diffusion.guidance import State, last
from discrete_diffusion.trainer.fitting import print_above_progress_bar
from discrete_diffusion.trainer.generator import Generator
from discrete_diffusion.trainer.stopping import Stop

Score = Callable[[Sequence[str]], Mapping[str, float]]


class Preview(L.Callback):
    """Callback that samples after each validation, with the averaged weights, scores the samples and saves them.

    Args:
        checkpoint: Model with its sampler and tokenizer.
        labels: Class or numbers of each training row, from which those of the samples are drawn; None without labels.
        directory: Folder of the samples.
        stop: Callback that may stop the run between two sampling steps.
        score: Function from strings to named numbers, such as the fraction of valid molecules.
        picture: Function that draws the strings to a file, for data that are not readable.
        samples: Number of samples; 0 disables the callback.
        shown: Number of samples to print.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        labels: torch.Tensor | None,
        directory: Path,
        stop: Stop,
        *,
        score: Score | None,
        picture: Callable[[Sequence[str], Path], object] | None = None,
        samples: int = 64,
        shown: int = 4,
    ) -> None:
        self.checkpoint, self.labels, self.directory, self.score = checkpoint, labels, directory, score
        self.stop = stop
        self.picture, self.samples, self.shown = picture, samples, shown

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw, score, print and save the samples."""
        if (
            not self.samples
            or trainer.sanity_checking
            or not trainer.is_global_zero
            or not isinstance(pl_module, Generator)
        ):
            return
        strings = decode(self.checkpoint.tokenizer, last(self.states(trainer, pl_module)))
        scores = {} if self.score is None else dict(self.score(strings))
        if trainer.logger is not None:
            trainer.logger.log_metrics({f"samples/{k}": v for k, v in scores.items()}, step=trainer.global_step)
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"step-{trainer.global_step:06d}.txt"
        path.write_text("\n".join(strings) + "\n", encoding="utf-8")
        if self.picture is not None:
            self.picture(strings, path := path.with_suffix(".png"))
        nll = trainer.callback_metrics["val/nll"].item()
        parts = [f"step {trainer.global_step}", f"validation {nll:.2f} nats per sequence"]
        parts += [f"{name} {value:.0%}" for name, value in scores.items()]
        parts.append("  ".join(shorten(one) for one in strings[: self.shown]) if self.picture is None else str(path))
        print_above_progress_bar(trainer, " | ".join(parts))

    def states(self, trainer: L.Trainer, pl_module: Generator) -> Iterator[State]:
        """Yield the states of the sampler, until the run is stopped."""
        generator = torch.Generator(pl_module.device).manual_seed(pl_module.seed)
        y, checkpoint = None, self.checkpoint
        if self.labels is not None:
            rows = torch.randint(len(self.labels), (self.samples,), generator=torch.Generator().manual_seed(0))
            y = self.labels[rows].to(pl_module.device)
            if y.is_floating_point():
                checkpoint, y = replace(checkpoint, requests=y), torch.arange(len(y), device=y.device)
        # Use the network itself, since the function `pl_module.denoiser()` cannot cache prefixes.
        states = checkpoint.sampler()(
            checkpoint.denoiser(),
            (self.samples, checkpoint.length),
            y=y,
            generator=generator,
            device=pl_module.device,
        )
        return self.stop.watched(trainer, states)


def shorten(string: str, longest: int = 72) -> str:
    """Shorten a sample to fit into a line."""
    return string if len(string) <= longest else string[: longest - 1] + "…"
