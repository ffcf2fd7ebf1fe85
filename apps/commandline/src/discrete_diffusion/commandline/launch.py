"""Hydra applications."""

import os
import sys
from collections.abc import Callable, Collection, Sequence
from typing import cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from discrete_diffusion.commandline.errors import Hints, report_errors, shows_tracebacks
from discrete_diffusion.commandline.settings import explain, refuse_ignored


def launch(
    task: Callable[[DictConfig], None],
    *,
    config_path: str,
    config_name: str,
    commands: Sequence[str] = (),
    hints: Callable[[], Hints] = dict,
    open_keys: Collection[str] = (),
) -> None:
    """Run a task under Hydra's command line, with the error handling of `report_errors`.

    A job of a `--multirun` that fails is reported, and the others run; the exit code is then 2.

    Args:
        task: Function of the composed configuration.
        config_path: Package of the configuration, as `pkg://...`.
        config_name: Primary configuration, and the name of the command in messages.
        commands: Names of the program's subcommands, listed if the user misspells one.
        hints: Function that returns advice for errors of each class; see `report_errors`.
        open_keys: Keys of the configuration whose entries have names of the user's choice; elsewhere, an added setting
            that nothing reads is refused.

    Raises:
        SystemExit: With code 2 if the user has to fix something, 130 on Ctrl-C.
    """
    failed: list[int] = []
    debug = shows_tracebacks()

    def guarded(config: DictConfig) -> None:
        job = HydraConfig.get()
        try:
            with report_errors(config_name, hints, debug=debug):
                # An override may hold an interpolation, which is none of the list of overrides.
                overrides = cast(list[str], OmegaConf.to_container(job.overrides.task, resolve=False))
                refuse_ignored(config, overrides, open_keys)
                task(config)
        except SystemExit as stop:
            if job.mode != RunMode.MULTIRUN or stop.code != 2:
                raise
            failed.append(job.job.num)

    with report_errors(config_name, hints, debug=debug):
        first = next(iter(sys.argv[1:]), "")
        if first.isidentifier():
            known = " or ".join([*commands, "settings such as NAME=VALUE"])
            raise ValueError(f"Expected {known}, got {first}: see `--help`.")
        # Hydra then raises its errors, which it would print in several lines otherwise.
        before = os.environ.get("HYDRA_FULL_ERROR")
        os.environ["HYDRA_FULL_ERROR"] = "1"
        try:
            hydra.main(version_base="1.3", config_path=config_path, config_name=config_name)(guarded)()
        except HydraException as error:
            if debug:
                raise
            raise ValueError(explain(error, config_path, config_name)) from error
        finally:
            if before is None:
                del os.environ["HYDRA_FULL_ERROR"]
            else:
                os.environ["HYDRA_FULL_ERROR"] = before
        if failed:
            numbers = ", ".join(map(str, failed))
            raise ValueError(f"{len(failed)} of the jobs failed (number {numbers}); their errors are above.")
