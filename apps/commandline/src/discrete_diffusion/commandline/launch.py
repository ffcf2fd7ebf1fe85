"""Hydra applications."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NoReturn, cast

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from discrete_diffusion.commandline.allocation import keep_freed_memory
from discrete_diffusion.commandline.errors import BUG, Hints, report_errors, shows_tracebacks
from discrete_diffusion.commandline.schema import Settings, check_settings
from discrete_diffusion.commandline.settings import explain, nearest, refuse_ignored
from discrete_diffusion.commandline.sweeps import record_job


def launch(
    task: Callable[[DictConfig], float | None],
    *,
    config_path: str,
    config_name: str,
    commands: Sequence[str] = (),
    hints: Callable[[], Hints] = dict,
    open_keys: Collection[str] = (),
    schema: type[Settings] | None = None,
) -> None:
    """Run a task under Hydra's command line, with the error handling of `report_errors`.

    A job of a `--multirun` that fails is reported, and the others run; the exit code is then 2. `sweeps.ended_jobs`
    lists the jobs if the configuration has the callback `sweeps.SweepFolder`.

    Args:
        task: Function of the composed configuration. A sweeper that searches for settings takes its result.
        config_path: Package of the configuration, as `pkg://...`.
        config_name: Primary configuration, and the name of the command in messages.
        commands: Names of the program's subcommands, listed if the user misspells one.
        hints: Function that returns advice for errors of each class; see `report_errors`.
        open_keys: Keys of the configuration whose entries have names of the user's choice; elsewhere, an added setting
            that nothing reads is refused.
        schema: Types and ranges of the settings, checked before the task runs.

    The option `--debug` anywhere on the command line shows tracebacks, as HYDRA_FULL_ERROR=1 does.

    Raises:
        SystemExit: With code 2 if the user has to fix something, 70 for a bug, 130 on Ctrl-C.
    """
    # OpenMP reads it when torch is imported. Its threads spin for milliseconds by default while they wait, which halves
    # the speed beside other work on the same cores; this many turns take microseconds and cost nothing alone.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    keep_freed_memory()
    failed: list[int] = []
    debug = _arrange_options() or shows_tracebacks()

    def guarded(config: DictConfig) -> float | None:
        job, status, result = HydraConfig.get(), "failed", None
        try:
            with report_errors(config_name, hints, debug=debug):
                # An override may hold an interpolation, which is none of the list of overrides.
                overrides = cast(list[str], OmegaConf.to_container(job.overrides.task, resolve=False))
                refuse_ignored(config, overrides, open_keys)
                if schema is not None:
                    check_settings(config, schema)
                result = task(config)
            status = "ok"
        except SystemExit as stop:
            if stop.code not in (2, BUG):
                status = "stopped"
            if stop.code == 2:
                _remove_unused_folder(Path(job.runtime.output_dir), job.job.name)
            if job.mode != RunMode.MULTIRUN or stop.code not in (2, BUG):
                raise
            failed.append(job.job.num)
        finally:
            record_job(job, status)
        return result

    with report_errors(config_name, hints, debug=debug):
        _expect_settings(commands)
        _expect_known_options()
        _run_hydra(guarded, config_path, config_name, debug=debug)
        _expect_no_failures(failed)


def _run_hydra(task: Callable[[DictConfig], float | None], config_path: str, config_name: str, *, debug: bool) -> None:
    """Compose the configuration and run the task, with errors of Hydra in one line.

    Raises:
        HydraException: With `debug`, if the configuration cannot be composed.
        ValueError: Otherwise, if the configuration cannot be composed.
    """
    # Hydra then raises its errors, which it would print in several lines otherwise.
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        hydra.main(version_base="1.3", config_path=config_path, config_name=config_name)(task)()
    except HydraException as error:
        if debug:
            raise
        raise ValueError(explain(error, config_path, config_name)) from error
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def _remove_unused_folder(folder: Path, name: str) -> None:
    """Remove the output folder of a job that failed before it wrote anything but its log.

    Folders above it that are empty then, and inside the current one, are removed too.
    """
    if folder.resolve() == Path.cwd() or not (folder / f"{name}.log").is_file():
        return
    # A lock that is held has the id of its process beside it.
    if {one.name for one in folder.iterdir()} <= {f"{name}.log", ".lock"}:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in folder.resolve().parents:
            if Path.cwd() not in parent.parents or any(parent.iterdir()):
                break
            parent.rmdir()


def _arrange_options() -> bool:
    """Move `--multirun` to the front, where Hydra accepts it, and remove `--debug`; return whether it was there."""
    multirun = [one for one in sys.argv[1:] if one in ("-m", "--multirun")]
    rest = [one for one in sys.argv[1:] if one not in ("-m", "--multirun", "--debug")]
    debug = "--debug" in sys.argv[1:]
    sys.argv[1:] = [*multirun[:1], *rest]
    return debug


def _expect_settings(commands: Sequence[str]) -> None:
    """Check that the command line does not begin with an unknown command.

    Raises:
        ValueError: If its first argument is a word.
    """
    first = next(iter(sys.argv[1:]), "")
    if first.isidentifier():
        known = " or ".join([*commands, "settings such as NAME=VALUE"])
        raise ValueError(f"Expected {known}, got {first}: see `--help`.")


def _expect_no_failures(failed: Sequence[int]) -> None:
    """Check that no job of a `--multirun` failed.

    Raises:
        ValueError: If one failed.
    """
    if failed:
        numbers = ", ".join(map(str, failed))
        raise ValueError(f"{len(failed)} of the jobs failed (number {numbers}); their errors are above.")


def _expect_known_options() -> None:
    """Check that Hydra takes the options and their values, since it prints its usage for others.

    Raises:
        ValueError: For the first one that it does not take.
    """
    parser = get_args_parser()
    known = parser._option_string_actions
    for one in sys.argv[1:]:
        name, equals, value = one.partition("=")
        if not re.match("--?[A-Za-z]", one) or name in known:
            continue
        if equals:
            raise ValueError(f"Unknown option {name}: write {name.lstrip('-')}={value} without dashes.")
        raise ValueError(f"Unknown option {name}{nearest(name, known)}")

    def refuse(message: str) -> NoReturn:
        raise ValueError(f"{message[:1].upper()}{message[1:]}: see `--help`.")

    parser.error = refuse  # type: ignore[method-assign]
    parser.parse_args(sys.argv[1:])
