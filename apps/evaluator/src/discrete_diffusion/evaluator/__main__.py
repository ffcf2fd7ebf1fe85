"""`uv run evaluator`."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig

from discrete_diffusion.commandline import describe_versions, launch, report_errors
from discrete_diffusion.commandline.errors import Hints
from discrete_diffusion.commandline.schema import Settings
from discrete_diffusion.commandline.stopping import stop_on_signals
from discrete_diffusion.evaluator.renamed_guidance import refuse_former_guidance
from discrete_diffusion.evaluator.schema import (
    EvaluatorSettings,
    GenerateSettings,
    ScoreSettings,
    check_classes,
)

CONFIG = "pkg://discrete_diffusion.evaluator.config"
OPEN = ("guidance", "suite", "truncation")
"""Keys whose entries a user may add under names of her own."""


def main() -> None:
    """Measure a generator, or generate sequences with it or score some; see `uv run evaluator --help`."""
    # A console script does not import modules from the current folder, where the user's own metrics are.
    sys.path.append(str(Path.cwd()))
    if sys.argv[1:] == ["--version"]:
        print(describe_versions("evaluator"))
        return
    with report_errors("evaluator"):
        refuse_former_guidance(sys.argv[1:])
    command = sys.argv[1] if sys.argv[1:2] and sys.argv[1] in COMMANDS else None
    if command is None:
        _launch(_evaluate, "evaluator", EvaluatorSettings, commands=tuple(COMMANDS))
        return
    del sys.argv[1]
    task, schema = COMMANDS[command]
    _launch(task, command, schema)


def _launch(
    task: Callable[[DictConfig], None], name: str, schema: type[Settings], commands: Sequence[str] = ()
) -> None:
    launch(task, config_path=CONFIG, config_name=name, commands=commands, hints=_hints, open_keys=OPEN, schema=schema)


# Imports of torch, transformers and RDKit take seconds, and --help or a misspelled setting should not wait for them.


def _expect_checkpoint(config: DictConfig) -> None:
    from discrete_diffusion.checkpoints import expect_checkpoint

    expect_checkpoint(config.checkpoint)


def _evaluate(config: DictConfig) -> None:
    _expect_checkpoint(config)
    check_classes(config)
    from discrete_diffusion.evaluator.evaluate import evaluate

    with stop_on_signals():
        evaluate(config)


def _generate(config: DictConfig) -> None:
    _expect_checkpoint(config)
    check_classes(config)
    from discrete_diffusion.evaluator.generate import generate

    with stop_on_signals():
        generate(config)


def _score(config: DictConfig) -> None:
    _expect_checkpoint(config)
    check_classes(config)
    from discrete_diffusion.evaluator.score import score

    with stop_on_signals():
        score(config)


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
}


if __name__ == "__main__":
    main()
