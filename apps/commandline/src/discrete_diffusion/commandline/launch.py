"""Hydra applications."""

import sys
from collections.abc import Callable, Sequence
from types import MappingProxyType

import hydra
from omegaconf import DictConfig

from discrete_diffusion.commandline.errors import Hints, report_errors


def launch(
    task: Callable[[DictConfig], None],
    *,
    config_path: str,
    config_name: str,
    commands: Sequence[str] = (),
    hints: Hints = MappingProxyType({}),
) -> None:
    """Run a task under Hydra's command line, with the error handling of `report_errors`.

    Args:
        task: Function of the composed configuration.
        config_path: Package of the configuration, as `pkg://...`.
        config_name: Primary configuration, and the name of the command in messages.
        commands: Names of the program's subcommands, listed if the user misspells one.
        hints: Advice for errors of each class; see `report_errors`.

    Raises:
        SystemExit: With code 2 if the user has to fix something, 130 on Ctrl-C.
    """

    def guarded(config: DictConfig) -> None:
        with report_errors(config_name, hints):
            task(config)

    with report_errors(config_name, hints):
        first = next(iter(sys.argv[1:]), "")
        if first.isidentifier():
            known = " or ".join([*commands, "settings such as NAME=VALUE"])
            raise ValueError(f"Expected {known}, got {first}: see `--help`.")
    try:
        hydra.main(version_base="1.3", config_path=config_path, config_name=config_name)(guarded)()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except SystemExit as stop:
        # Hydra exits with 1, the code of a crash, when an override is misspelled.
        raise SystemExit(2 if stop.code == 1 else stop.code) from None
