"""The manners of our command lines: one clear line for what a person can mend, exit code 2, nothing lost."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import hydra
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

MENDABLE = (ValueError, ImportError, OSError, OmegaConfBaseException)


@contextmanager
def manners(name: str) -> Iterator[None]:
    """What a person can mend ends the command `name` with one line and exit code 2, and Ctrl-C ends it with 130."""
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (HydraException, *MENDABLE) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        if os.environ.get("HYDRA_FULL_ERROR") == "1" or not isinstance(cause, (*MENDABLE, HydraException)):
            raise
        reason = str(cause).strip() or type(cause).__name__
        if isinstance(cause, HydraException) and not isinstance(cause, InstantiationException):
            reason = reason.partition("\n")[0]  # what follows is where it looked
        # on a terminal a progress bar may have left the cursor at the end of its line
        fresh_line = "\n" if sys.stderr.isatty() else ""
        print(f"{fresh_line}{name}: {reason}", file=sys.stderr)
        sys.exit(2)


def launch(
    task: Callable[[DictConfig], None], *, config_path: str, config_name: str, commands: Sequence[str] = ()
) -> None:
    """Run a task under Hydra's command line.

    Args:
        commands: words that begin other command lines of the same program, for who misspells one.
    """

    def guarded(config: DictConfig) -> None:
        with manners(config_name):
            task(config)

    with manners(config_name):
        first = next(iter(sys.argv[1:]), "")
        if first.isidentifier():
            known = " or ".join([*commands, "settings such as NAME=VALUE"])
            raise ValueError(f"Expected {known}, got {first}: `--help` tells them.")
    try:
        hydra.main(version_base="1.3", config_path=config_path, config_name=config_name)(guarded)()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except SystemExit as stop:
        # Hydra's own exit code for a misspelt override is 1, the code of a crash.
        raise SystemExit(2 if stop.code == 1 else stop.code) from None
