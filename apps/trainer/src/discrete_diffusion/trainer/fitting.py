"""Shared parts of training runs: output folder, console, Lightning trainer and data loaders."""

import logging
import shlex
import signal
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, cast

import lightning as L
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.text import Text
from torch import nn

from discrete_diffusion.checkpoints import fetch
from discrete_diffusion.commandline.full_disk import advise_on_full_disk
from discrete_diffusion.commandline.lock import FolderLock
from discrete_diffusion.datasets import SequenceData, Stream
from discrete_diffusion.trainer.batches import DataModule
from discrete_diffusion.trainer.checkpointing import FinalValidation, WholeFiles
from discrete_diffusion.trainer.launching import count_accumulated, is_restarted, requeue
from discrete_diffusion.trainer.resumption import read_run
from discrete_diffusion.trainer.run_folder import SETTINGS, holds_a_run, short, write_synced
from discrete_diffusion.trainer.saved_states import newest_whole
from discrete_diffusion.trainer.stopping import Stop, Stopped, averages

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


class TrainingRun:
    """Output folder, settings, start time and console of a training run.

    Args:
        config: Composed configuration of the command line.

    Attributes:
        config: Settings of the run: those of the resumed run with the changes of the command line, if it resumes one.
        checkpoint: Lightning checkpoint to resume from; None for a new run.
        overrides: Settings of the command line.
        dry: Whether this is a dry run, which checks the folder as a run does and writes nothing into it.

    The folder is locked until `close`.

    Raises:
        ValueError: If the folder holds another run, a process trains in it, or a setting cannot change beside `resume`.
        FileNotFoundError: If there is nothing to resume.
    """

    def __init__(self, config: DictConfig) -> None:
        self.started = time.monotonic()
        self.console = Console(highlight=False, soft_wrap=True)
        self.directory = short(Path(HydraConfig.get().runtime.output_dir))
        self.overrides = cast(list[str], OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False))
        self.directory.mkdir(parents=True, exist_ok=True)
        # The settings that are compared with those of a run are those of a run.
        self.dry, config.dry_run = config.dry_run, False
        quiet()
        self.print(
            "Dry run: nothing is trained or saved." if self.dry else f"Run folder: {escape(str(self.directory))}"
        )
        # Lightning starts the other ranks with the same command.
        self.lock = None
        if is_first_process() and (not self.dry or (self.directory / ".lock").exists()):
            self.lock = FolderLock(self.directory, work=f"training in {self.directory}", setting="hydra.run.dir")
        try:
            self._begin(config)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the run."""
        return self

    def __exit__(self, *error: object) -> None:
        """Release the lock."""
        self.close()

    def close(self) -> None:
        """Release the lock of the folder."""
        if self.lock is not None:
            self.lock.release()

    def _begin(self, config: DictConfig) -> None:
        self.config, self.resumes_here = config, False
        self.checkpoint: Path | None = None
        settings = config
        if config.resume is not None:
            resumed = read_run(config.resume, self.overrides, trust_remote_code=config.trust_remote_code)
            saved = newest_whole(config.resume)
            self.checkpoint = saved.path
            torn = ", ".join(map(str, saved.torn))
            self.print(escape(f"Resuming {saved.path}." + (f" Torn, and not used: {torn}." if torn else "")))
            if resumed.changes:
                self.print(escape(f"Changed: {'; '.join(resumed.changes)}."))
            self.config = resumed.config
            self.config.resume = config.resume
            self.resumes_here = resumed.folder.resolve() == self.directory.resolve()
            settings = resumed.settings if self.resumes_here else resumed.config
        elif is_restarted() and (own := self._own_run()) is not None:
            self.config = settings = own
            if holds_a_run(self.directory):
                self.checkpoint, self.resumes_here = newest_whole(self.directory).path, True
                self.print(escape(f"The job was restarted: resuming {self.checkpoint}."))
        # The settings are those of the start: training fills in `facts`.
        self.settings = OmegaConf.to_yaml(settings)
        self.fix("name", settings.name)
        if is_first_process() and not self.resumes_here:
            self._expect_no_other_run()

    def _own_run(self) -> DictConfig | None:
        """Return the settings of the run in the folder if they are those of the command line, else None."""
        file = self.directory / SETTINGS
        if not file.is_file():
            return None
        found = cast(DictConfig, OmegaConf.load(file))
        own = cast(DictConfig, OmegaConf.create(OmegaConf.to_yaml(self.config)))
        own.name = self.config.name
        # The run has the folder of its generator there: the newest one of its time, or that of the named run.
        generator = own.get("generator")
        if found.get("generator") and (generator is None or str(fetch(generator)) == found.generator):
            own.generator = found.generator
        return own if OmegaConf.to_container(found) == OmegaConf.to_container(own) else None

    def _expect_no_other_run(self) -> None:
        file = self.directory / SETTINGS
        other = file.is_file() and yaml.safe_load(file.read_text(encoding="utf-8")) != yaml.safe_load(self.settings)
        if other or holds_a_run(self.directory):
            raise ValueError(
                f"Expected an empty folder, but {self.directory} holds a run: resume it with "
                f"resume={self.directory}, or choose another hydra.run.dir."
            )

    def fix(self, name: str, value: str) -> None:
        """Give a setting that was computed, such as the newest generator, its value in the settings of the run."""
        settings = OmegaConf.create(self.settings)
        OmegaConf.update(settings, name, value)
        self.settings = OmegaConf.to_yaml(settings)

    def keep_settings(self) -> None:
        """Write the settings into the run folder unless it has them, and keep its metrics under another name."""
        if not is_first_process():
            return
        file, metrics = self.directory / SETTINGS, self.directory / "metrics.csv"
        if not file.is_file():
            write_synced(file, self.settings)
        if metrics.is_file():  # the logger would delete them
            earlier = len(list(self.directory.glob("metrics-*.csv"))) + 1
            metrics.rename(self.directory / f"metrics-{earlier}.csv")

    def describe_resumption(self) -> str:
        """Return the command that resumes this run."""
        own = [one.removeprefix("++") for one in self.overrides if not one.startswith("resume=")]
        changes = own if self.resumes_here else []
        return shlex.join(["uv", "run", "trainer", f"resume={self.directory}", *changes])

    def print(self, text: str) -> None:
        """Print rich markup on the console and write it as plain text to the log file, in the first process."""
        if not is_first_process():
            return
        self.console.print(text)
        LOG.info(Text.from_markup(text).plain.strip())

    def took(self) -> str:
        """Return the time since the start of the run."""
        minutes, rest = divmod(round(time.monotonic() - self.started), 60)
        return f"{minutes} min {rest} s"


def is_first_process() -> bool:
    """Return whether this is the process of rank 0, also before the ranks are connected."""
    return getattr(rank_zero_only, "rank", 0) == 0


def build_trainer(config: DictConfig, run: TrainingRun, stop: Stop, callbacks: Sequence[L.Callback]) -> L.Trainer:
    """Build the configured Lightning trainer.

    Raises:
        ValueError: If Lightning refuses its settings, the strategy shards the network, or a callback or logger is none
            of Lightning's.
    """
    options = instantiate(config.trainer)
    accumulated = count_accumulated(config)
    if options.get("val_check_interval") is not None:  # Lightning counts batches
        options["val_check_interval"] *= accumulated // options["accumulate_grad_batches"]
    options["accumulate_grad_batches"] = accumulated
    added = [FinalValidation(), *_built(config, "callbacks", L.Callback), *callbacks, stop]
    loggers = _built(config, "logger", Logger)
    try:
        trainer = L.Trainer(
            **{**options, "plugins": [*(options.get("plugins") or []), WholeFiles()]},
            default_root_dir=run.directory,
            callbacks=added,
            logger=loggers,
            use_distributed_sampler=False,
            enable_model_summary=False,
        )
    except (MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"Lightning refuses the settings under `trainer`: {error}") from error
    # Others shard the weights, of which the averages, Muon, previews and checkpoints need all.
    if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
        raise ValueError(
            f"Expected `trainer.strategy` to be auto or ddp, got {type(trainer.strategy).__name__}: every device holds "
            "the whole network."
        )
    return trainer


def _built(config: DictConfig, group: str, kind: type) -> list[Any]:
    """Return the entries of a group that are not null, built.

    Raises:
        ValueError: If one is not of the kind.
    """
    built = {name: one for name, one in instantiate(config[group]).items() if one is not None}
    for name, one in built.items():
        if not isinstance(one, kind):
            raise ValueError(f"Expected `{group}.{name}` to be a {kind.__name__} of Lightning, got {one!r:.80}.")
    return list(built.values())


def build_batches(config: DictConfig, data: SequenceData, run: TrainingRun) -> DataModule:
    """Build the data loaders."""
    sizes = ("batch_size=", "global_batch_size=", "trainer.accumulate_grad_batches=")
    return DataModule(
        data,
        batch_size=config.batch_size,
        steps=config.steps,
        seed=config.seed,
        num_workers=config.num_workers,
        resizable=any(one.lstrip("+").startswith(sizes) for one in run.overrides),
    )


def describe_training(trainer: L.Trainer, network: nn.Module, config: DictConfig) -> str:
    """Describe the size of the network, the steps, the devices and the rows of a step."""
    size = sum(parameter.numel() for parameter in network.parameters())
    description = f"Training {size:,} parameters for {config.steps:,} steps on {trainer.strategy.root_device}."
    processes, accumulated = trainer.world_size, trainer.accumulate_grad_batches
    if processes * accumulated == 1:
        return description
    rows = config.batch_size * processes * accumulated
    split = f"{config.batch_size} × {processes} processes × {accumulated} accumulated"
    return f"{description} A step has {rows:,} sequences: {split}."


def fit(trainer: L.Trainer, module: L.LightningModule, batches: DataModule, run: TrainingRun, stop: Stop) -> None:
    """Train, and exit with the code of the signal if the run is stopped.

    A job of SLURM that SIGUSR1 stops is requeued.

    Raises:
        KeyboardInterrupt: After Ctrl-C.
        OSError: If the disk is full, with advice.
        SystemExit: After another signal, with 128 + its number.
    """
    try:
        advice = f"make room, and resume with `{run.describe_resumption()}`; without a checkpoint, start again."
        with stop, advise_on_full_disk(advice):
            trainer.fit(module, batches, ckpt_path=run.checkpoint, weights_only=True)
        if not stop.finished:
            # Lightning leaves a run that resumes after its last step before the averages become its weights.
            for callback in averages(trainer):
                callback.on_train_end(trainer, module)
    except Stopped as stopped:
        if trainer.is_global_zero:
            run.print(f"\nStopped at step {trainer.global_step} by {signal.Signals(stopped.signum).name}.")
            if (run.directory / "checkpoints" / "last.ckpt").is_file():
                run.print(f"Resume with:\n  [bold]{escape(run.describe_resumption())}[/bold]")
                if stopped.signum == signal.SIGUSR1 and (outcome := requeue(run.directory)) is not None:
                    run.print(escape(outcome))
        elif starts_processes(trainer):
            # Lightning kills the process that has started this one, in the middle of its last lines, if this one fails.
            raise SystemExit(0) from None
        if stopped.signum == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(128 + stopped.signum) from None
    except SystemExit:
        # Lightning exits with 1 on a KeyboardInterrupt, which is the second Ctrl-C.
        raise KeyboardInterrupt from None


def starts_processes(trainer: L.Trainer) -> bool:
    """Return whether Lightning has started the processes of this run, other than the first."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    return isinstance(environment, LightningEnvironment)


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


def print_row_report(run: TrainingRun, data: SequenceData) -> None:
    """Print one line for each reason for which rows are dropped, cut, altered or suspicious, and what to do."""
    for line in data.report.describe().splitlines():
        run.print(escape(line + "."))
    if any(change.example for change in data.report.changes):
        run.print("The model learns the altered strings. To keep them as they are, choose another `tokenizer`.")


def describe_sequences(data: SequenceData) -> str:
    """Describe the number and size of the sequences."""
    train = "A stream of" if isinstance(data.train, Stream) else f"{len(data.train):,}"
    description = f"{train} training and {len(data.validation):,} validation sequences of {data.length} tokens, "
    return description + f"{len(data.tokenizer)} symbols"
