"""Jobs of a `--multirun`, which may run in other processes."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

RECORDS = ".jobs"
"""Folder below that of a sweep in which each job notes how it ended."""


class Job(NamedTuple):
    """Ended job of a sweep.

    Attributes:
        number: Its number, from 0.
        overrides: Its settings, as on the command line.
        status: "ok", "failed" after an error, or "stopped" after a signal.
        folder: Its output folder, which may be missing if the job failed at once.
    """

    number: int
    overrides: Sequence[str]
    status: str
    folder: str


class SweepFolder(Callback):
    """Hydra callback that notes the folder of a sweep for `ended_jobs`."""

    folder: Path | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the folder, and forget the jobs of an earlier sweep in it."""
        SweepFolder.folder = Path(config.hydra.sweep.dir)
        shutil.rmtree(SweepFolder.folder / RECORDS, ignore_errors=True)


def record_job(job: Any, status: str) -> None:
    """Note how a job has ended, if it is one of a sweep whose callback is `SweepFolder`.

    Args:
        job: Hydra's configuration of the job.
        status: "ok", "failed" or "stopped".
    """
    if job.mode != RunMode.MULTIRUN or "sweep" not in job.callbacks:
        return
    overrides = OmegaConf.to_container(job.overrides.task, resolve=False)
    ended = Job(job.job.num, overrides, status, job.runtime.output_dir)  # type: ignore[arg-type]
    folder = Path(job.sweep.dir) / RECORDS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{ended.number}.json").write_text(json.dumps(ended), encoding="utf-8")


def ended_jobs() -> tuple[Path | None, list[Job]]:
    """Return the folder of the sweep that this process has started, None without one, and its jobs by number."""
    folder = SweepFolder.folder
    if folder is None:
        return None, []
    found = [Job(*json.loads(file.read_text(encoding="utf-8"))) for file in (folder / RECORDS).glob("*.json")]
    return folder, sorted(found)
