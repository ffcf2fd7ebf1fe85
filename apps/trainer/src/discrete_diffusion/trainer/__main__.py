"""`uv run trainer`."""

import sys
from importlib import import_module
from pathlib import Path
from typing import cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from discrete_diffusion.commandline import describe_versions, launch, report_errors
from discrete_diffusion.commandline.errors import Hints
from discrete_diffusion.trainer import resolvers
from discrete_diffusion.trainer.comparison import compare_jobs, read_bound
from discrete_diffusion.trainer.renamed_experiments import refuse_former_experiments
from discrete_diffusion.trainer.run_folder import for_resumption
from discrete_diffusion.trainer.schema import TrainerSettings, check_run

OPEN = ("trainer",)
"""Keys whose entries are arguments of a class that the configuration does not name."""
COMMANDS = ("convert", "export")
"""Modules with a separate command line."""


def main() -> None:
    """Train a generator, or a classifier for one, or convert or export one; see `uv run trainer --help`."""
    if sys.argv[1:] == ["--version"]:
        print(describe_versions("trainer"))
        return
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        import_module(f"discrete_diffusion.trainer.{sys.argv[1]}").main(sys.argv[2:])
        return
    with report_errors("trainer"):
        refuse_former_experiments(sys.argv[1:])
    resolvers.register()
    sys.argv[1:] = for_resumption(sys.argv[1:])
    try:
        launch(
            _train,
            config_path="pkg://discrete_diffusion.trainer.config",
            config_name="trainer",
            commands=COMMANDS,
            hints=_hints,
            open_keys=OPEN,
            schema=TrainerSettings,
        )
    finally:
        compare_jobs()


def _train(config: DictConfig) -> float | None:
    """Train, and return the bound of the last validation in nats."""
    from hydra.utils import instantiate

    run = config
    if config.resume is not None:
        from discrete_diffusion.trainer.resumption import read_run

        overrides = cast(list[str], OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False))
        run = read_run(config.resume, overrides, trust_remote_code=config.trust_remote_code).config
    # Lightning and RDKit take seconds to import, and --help or a typo should not wait for them.
    check_run(run)
    instantiate(run.task)(config)
    return read_bound(Path(HydraConfig.get().runtime.output_dir)).nats


def _hints() -> Hints:
    from discrete_diffusion.checkpoints import MissingDataError, NoCheckpointError, UndescribedDataError
    from discrete_diffusion.datasets import (
        TooManyClassesError,
        TooManyRowsDroppedError,
        UnreachableDataError,
        UnreachableTokenizerError,
    )

    return {
        MissingDataError: "name their place by `data.path=`",
        NoCheckpointError: "train one with `uv run trainer`, or name one",
        UndescribedDataError: "name its data by `uv run trainer convert SRC DST data=NAME`",
        TooManyRowsDroppedError: "correct these rows, or drop them with data.max_dropped=SHARE",
        UnreachableDataError: "on the command line, `data.path=FILE`",
        UnreachableTokenizerError: "on the command line, `tokenizer.name_or_path=FOLDER`",
        TooManyClassesError: "take label=percentile label.column=NAME for numbers, or +label.max_classes=NUMBER",
    }


if __name__ == "__main__":
    main()
