"""Shared parts of training runs: output folder, console, Lightning trainer and data loaders."""

import logging
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import lightning as L
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning.pytorch.callbacks import TQDMProgressBar
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from discrete_diffusion.datasets import SequenceData, Stream
from discrete_diffusion.trainer.batches import DataModule
from discrete_diffusion.trainer.last_step import FinalValidation

LOG = logging.getLogger(__name__)

ADVICE = (
    ".*does not have many workers.*",
    ".*dataloader is not resumable.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*Experiment logs directory .* exists and is not empty.*",
    ".*The dirpath has changed from .*",
    ".*LeafSpec.*",
    ".*smaller than the logging interval.*",
)


class Run:
    """Output folder, start time and console of a training run."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.console = Console(highlight=False, soft_wrap=True)
        self.directory = short(Path(HydraConfig.get().runtime.output_dir))
        quiet()
        self.print(f"Run folder: {self.directory}")

    def print(self, text: str) -> None:
        """Print rich markup on the console and write it as plain text to the log file."""
        self.console.print(text)
        LOG.info(Text.from_markup(text).plain.strip())

    def took(self) -> str:
        """Return the time since the start of the run."""
        minutes, rest = divmod(round(time.monotonic() - self.started), 60)
        return f"{minutes} min {rest} s"


def build_trainer(config: DictConfig, run: Run, callbacks: Sequence[L.Callback]) -> L.Trainer:
    """Build the configured Lightning trainer."""
    return L.Trainer(
        **instantiate(config.trainer),
        default_root_dir=run.directory,
        callbacks=[FinalValidation(), *instantiate(config.callbacks).values(), *callbacks],
        logger=list(instantiate(config.logger).values()),
        use_distributed_sampler=False,
        enable_model_summary=False,
    )


def build_batches(config: DictConfig, data: SequenceData) -> DataModule:
    """Build the data loaders."""
    return DataModule(
        data, batch_size=config.batch_size, steps=config.steps, seed=config.seed, num_workers=config.num_workers
    )


def print_above_progress_bar(trainer: L.Trainer, line: str) -> None:
    """Print a line without breaking the progress bar, and write it to the log file."""
    bar = trainer.progress_bar_callback
    (bar.print if isinstance(bar, TQDMProgressBar) and bar.is_enabled else print)(line)
    LOG.info(line)


def quiet() -> None:
    """Silence library warnings that the user cannot act on."""
    for name in ("lightning.pytorch", "lightning.fabric", "datasets", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in ADVICE:
        warnings.filterwarnings("ignore", message)


def short(path: Path) -> Path:
    """Return the path relative to the current folder, if it is inside."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def print_row_report(run: Run, data: SequenceData) -> None:
    """Print one line for each reason for which rows are dropped, cut, altered or suspicious."""
    for line in data.report.describe().splitlines():
        run.print(escape(line + "."))


def describe_sequences(data: SequenceData) -> str:
    """Describe the number and size of the sequences."""
    train = "A stream of" if isinstance(data.train, Stream) else f"{len(data.train):,}"
    said = f"{train} training and {len(data.validation):,} validation sequences of {data.length} tokens, "
    return said + f"{len(data.tokenizer)} symbols"
