"""Table that compares the jobs of a sweep."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from discrete_diffusion.commandline.sweeps import Job, ended_jobs
from discrete_diffusion.trainer.run_folder import short

TABLE = "comparison.csv"


class Bound(NamedTuple):
    """Bound of a validation.

    Attributes:
        nats: Bound on the negative log-likelihood of a sequence, or loss of a classifier; None without a validation.
        step: Step of the validation.
    """

    nats: float | None
    step: int


def read_bound(run: Path) -> Bound:
    """Read the bound of the last validation in a run folder."""
    from discrete_diffusion.trainer.run_results import last_validation

    row = last_validation(run / "metrics.csv")
    nats = row.get("val/nll") or row.get("val/loss")
    return Bound(float(nats), int(row["step"]) + 1) if nats else Bound(None, 0)


def compare_jobs() -> None:
    """Print the table of the sweep that this process has started, if any, and write it into the folder of the sweep."""
    sweep, jobs = ended_jobs()
    if sweep is None or not jobs:
        return
    differing = settings_that_differ(jobs)
    rows = [["job", *differing, "nats", "steps", "status", "folder"]]
    for job in jobs:
        values, folder = settings_of(job), Path(job.folder)
        bound = read_bound(folder)
        measured = ["" if bound.nats is None else f"{bound.nats:.4g}", str(bound.step or "")]
        where = str(short(folder)) if folder.is_dir() else ""
        rows.append([str(job.number), *(values.get(name, "") for name in differing), *measured, job.status, where])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for line in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    if all(settings_of(job).get("dry_run", "").lower() == "true" for job in jobs):
        return  # nothing is measured, and nothing may be written
    with (sweep / TABLE).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    print(f"\nBounds of the last validation in nats, and its step. The table is {sweep / TABLE}.", flush=True)


def settings_that_differ(jobs: Sequence[Job]) -> list[str]:
    """Return the names of the settings in which the jobs differ, in the order of the command line."""
    each = [settings_of(job) for job in jobs]
    names = dict.fromkeys(name for settings in each for name in settings)
    return [name for name in names if len({settings.get(name) for settings in each}) > 1]


def settings_of(job: Job) -> dict[str, str]:
    """Return the settings of a job by name."""
    pairs = (one.lstrip("+~").partition("=") for one in job.overrides)
    return {name: value for name, _, value in pairs}
