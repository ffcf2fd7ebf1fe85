"""Output folder of a dry run, which leaves none."""

import atexit
import shutil
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class DryRunFolder(Callback):
    """Hydra callback that removes the folders that a dry run creates, when the process ends.

    Hydra creates the output folder and opens its log before the task runs. A folder that exists before the dry run is
    left as it is.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the missing folders, and write no log."""
        if config.dry_run is True:
            remove_at_exit(Path(config.hydra.run.dir))
            handlers = (config.hydra.job_logging or {}).get("handlers") or {}
            if "file" in handlers:
                handlers["file"] = {"class": "logging.NullHandler"}

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the missing folders of a sweep."""
        if config.dry_run is True:
            remove_at_exit(Path(config.hydra.sweep.dir))


def remove_at_exit(folder: Path) -> None:
    """Remove a missing folder, and its missing parents unless others fill them, when the process ends."""
    folder = folder.absolute()
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    if missing:
        atexit.register(_remove, missing)


def _remove(folders: list[Path]) -> None:
    shutil.rmtree(folders[0], ignore_errors=True)
    for parent in folders[1:]:
        try:
            parent.rmdir()
        except OSError:  # another run has begun in it
            return
