"""`uv run evaluator`."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from discrete_diffusion.commandline import describe_versions, launch, report_errors
from discrete_diffusion.commandline.errors import Hints
from discrete_diffusion.commandline.schema import Settings
from discrete_diffusion.commandline.stopping import stop_on_signals
from discrete_diffusion.evaluator.renamed_guidance import refuse_former_guidance
from discrete_diffusion.evaluator.schema import (
    BenchmarkSettings,
    EvaluatorSettings,
    GenerateSettings,
    MosesSettings,
    ScoreSettings,
    check_classes,
)

if TYPE_CHECKING:
    from discrete_diffusion.evaluator.ranks import Ranks

CONFIG = "pkg://discrete_diffusion.evaluator.config"
PATIENCE = 5.0
"""Seconds that the other processes wait for the end of the first one after an error."""
OPEN = ("guidance", "suite", "truncation")
"""Keys whose entries a user may add under names of her own."""


def main() -> None:
    """Measure a generator, sample from it, score sequences, or optimize molecules; see `uv run evaluator --help`.

    Raises:
        SystemExit: With the exit code of an error; see `launch`.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0":
        _main()
        return
    # The first of several processes prints for all of them.
    with Path(os.devnull).open("w") as nothing:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nothing.fileno(), stream.fileno())
    try:
        _main()
    except SystemExit as stop:
        if stop.code:
            # A launcher ends all processes when one has failed: the first one has to print the error before.
            time.sleep(PATIENCE)
        raise


def _main() -> None:
    # A console script does not import modules from the current folder, where the user's own metrics are.
    sys.path.append(str(Path.cwd()))
    if sys.argv[1:] == ["--version"]:
        print(describe_versions("evaluator"))
        return
    with report_errors("evaluator"):
        refuse_former_guidance(sys.argv[1:])
    words = next((n for n in (2, 1) if " ".join(sys.argv[1 : 1 + n]) in COMMANDS), 0)
    command = " ".join(sys.argv[1 : 1 + words])
    del sys.argv[1 : 1 + words]
    task, schema = COMMANDS[command] if command else (_evaluate, EvaluatorSettings)
    rest = [name.removeprefix(command).strip() for name in COMMANDS if name.startswith(command) and name != command]
    _launch(task, command.replace(" ", "_") or "evaluator", schema, commands=[one for one in rest if " " not in one])


def _launch(
    task: Callable[[DictConfig], None], name: str, schema: type[Settings], commands: Sequence[str] = ()
) -> None:
    launch(task, config_path=CONFIG, config_name=name, commands=commands, hints=_hints, open_keys=OPEN, schema=schema)


# Imports of torch, transformers and RDKit take seconds, and --help or a misspelled setting should not wait for them.


def _expect_checkpoint(config: DictConfig) -> None:
    from discrete_diffusion.checkpoints import expect_checkpoint

    expect_checkpoint(config.checkpoint)


@contextmanager
def _several(devices: int | None, command: Sequence[str]) -> "Iterator[Ranks]":
    """Join the processes of torchrun, or start `devices` of them.

    Args:
        devices: Number of processes.
        command: Name of the subcommand, if there is one.

    Raises:
        ValueError: If several processes run several jobs.
    """
    from discrete_diffusion.evaluator.ranks import launched, open_ranks

    job = HydraConfig.get()
    if job.mode == RunMode.MULTIRUN and (launched(devices).count > 1 or devices not in (None, 1)):
        raise ValueError("Expected no `--multirun` with several processes: run the jobs one after another.")
    with open_ranks(devices, [*command, *job.overrides.task]) as ranks:
        yield ranks


def _evaluate(config: DictConfig) -> None:
    _expect_checkpoint(config)
    check_classes(config)
    from discrete_diffusion.evaluator.evaluate import evaluate

    with stop_on_signals(), _several(config.devices, []) as ranks:
        evaluate(config, ranks)


def _generate(config: DictConfig) -> None:
    _expect_checkpoint(config)
    check_classes(config)
    from discrete_diffusion.evaluator.generate import generate

    with stop_on_signals(), _several(config.devices, ["generate"]) as ranks:
        generate(config, ranks)


def _score(config: DictConfig) -> None:
    _expect_checkpoint(config)
    check_classes(config)
    from discrete_diffusion.evaluator.score import score

    with stop_on_signals(), _several(config.devices, ["score"]) as ranks:
        score(config, ranks)


def _benchmark(config: DictConfig) -> None:
    _expect_checkpoint(config)
    from discrete_diffusion.evaluator.benchmark import benchmark

    _expect_one_process()
    with stop_on_signals():
        benchmark(config)


def _benchmark_moses(config: DictConfig) -> None:
    _expect_checkpoint(config)
    from discrete_diffusion.evaluator.moses_benchmark import moses_benchmark

    _expect_one_process()
    with stop_on_signals():
        moses_benchmark(config)


def _expect_one_process() -> None:
    from discrete_diffusion.evaluator.ranks import launched

    if launched().count > 1:
        raise ValueError("Expected one process: `benchmark` does not share its work.")


def _hints() -> Hints:
    from discrete_diffusion.checkpoints import (
        ClassifierMismatchError,
        MissingClassifierError,
        MissingDataError,
        NoCheckpointError,
        UndescribedDataError,
    )
    from discrete_diffusion.datasets import UnreachableDataError
    from discrete_diffusion.evaluator.carried_data import MissingRowsError

    return {
        ClassifierMismatchError: "train one with `uv run trainer task=KIND_classifier generator=RUN`",
        MissingClassifierError: "train one with `uv run trainer task=KIND_classifier generator=RUN`, or name one",
        MissingDataError: "name their place by `data.path=`",
        MissingRowsError: "name their place by `data.path=`",
        NoCheckpointError: "train one with `uv run trainer`, or name one",
        UnreachableDataError: "on the command line, `data.path=FILE`",
        UndescribedDataError: "name its data by `uv run trainer convert SRC DST data=NAME`",
    }


COMMANDS: dict[str, tuple[Callable[[DictConfig], None], type[Settings]]] = {
    "generate": (_generate, GenerateSettings),
    "score": (_score, ScoreSettings),
    "benchmark": (_benchmark, BenchmarkSettings),
    "benchmark moses": (_benchmark_moses, MosesSettings),
}


if __name__ == "__main__":
    main()
