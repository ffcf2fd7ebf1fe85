"""Files of an evaluation, written as it goes."""

import csv
import io
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from discrete_diffusion.checkpoints import evaluations, is_hub_name
from discrete_diffusion.eval import confidence_interval
from discrete_diffusion.evaluator.domains.domain import Domain, Number, Run
from discrete_diffusion.evaluator.point import Point

UNFINISHED = "unfinished"
"""Folder inside that of an evaluation, with what a resumption needs; it is there until the evaluation is complete."""


class Record:
    """Folder of an evaluation. Its files are whole at any time: each is replaced by its next version.

    Args:
        directory: Existing folder.
        facts: Entries of summary.json beside the numbers.
        domain: Domain, with the name of the property and its values on the training data.
    """

    def __init__(self, directory: Path, facts: Mapping[str, Any], domain: Domain) -> None:
        self.directory, self.domain = directory, domain
        self.facts, self.rows, self.runs = dict(facts), list[dict[str, Number | str]](), list[Run]()

    def recall(self) -> None:
        """Take the facts of the evaluation that is resumed from its summary.json, if it has come to write one."""
        path = self.directory / "summary.json"
        if path.exists():
            content = json.loads(path.read_text(encoding="utf-8"))
            self.facts = {name: value for name, value in content.items() if name not in ("training", "results")}

    def note(self, **facts: Any) -> None:
        """Add entries to summary.json."""
        self.facts |= facts
        self._write_summary()

    def add(self, run: Run, cost: Mapping[str, Number]) -> None:
        """Write the samples of a run, its row of results.csv, and the summary of all runs so far."""
        self.extend([(run, cost)])

    def extend(self, runs: Sequence[tuple[Run, Mapping[str, Number]]]) -> None:
        """Do the same for several runs, with one write of the summary."""
        for run, cost in runs:
            samples = self.directory / "samples" / f"{run.condition.file_name()}_seed-{run.seed}.csv"
            samples.parent.mkdir(exist_ok=True)
            own: dict[str, Number | str] = {**run.condition.columns(), "seed": run.seed}
            _write_csv(samples, [own | dict(row) for row in run.outcome.samples])
            self.rows.append(own | {"property": self.domain.property_name} | dict(run.outcome.numbers) | dict(cost))
            self.runs.append(run)
        _write_csv(self.directory / "results.csv", self.rows)
        self._write_summary()

    def summary(self) -> list[dict[str, Number | str]]:
        """Return a row for each condition: the mean of each number over seeds, and half of its 95 % interval."""
        groups: dict[Point, list[dict[str, Any]]] = {}
        for run, row in zip(self.runs, self.rows, strict=True):
            groups.setdefault(run.condition, []).append(row)
        summary = []
        for condition, rows in groups.items():
            means: dict[str, Number | str] = {
                **condition.columns(),
                "property": rows[0]["property"],
                "seeds": len(rows),
            }
            for name in [name for name in rows[0] if name not in means and name != "seed"]:
                interval = confidence_interval([row[name] for row in rows])
                means |= {name: interval.mean, f"{name}_ci95": interval.half_width}
            summary.append(means)
        return summary

    def _write_summary(self) -> None:
        summary = self.summary()
        training = dict(self.domain.training)
        if summary:
            known: dict[str, Any] = dict.fromkeys(summary[0])
            known |= {"condition": "training data", "property": self.domain.property_name}
            kind = next(name.removesuffix("_property_mean") for name in known if name.endswith("_property_mean"))
            known |= {f"{kind}_property_{name}": value for name, value in training.items()}
            _write_csv(self.directory / "summary.csv", [*summary, known])
        content = {"training": {"property": self.domain.property_name, **training}, "results": summary, **self.facts}
        write(self.directory / "summary.json", json.dumps(_finite(content), indent=2, allow_nan=False) + "\n")


def make_directory(output: str | None, checkpoint: Path, name: str | None) -> Path:
    """Return the folder of an evaluation: `output`, or a new one named by the time in the checkpoint's evaluations.

    `output` is a new folder, or that of an unfinished evaluation. Evaluations of a model from the hub, whose files lie
    in a cache, go under outputs/.

    Args:
        output: The folder, None for the default.
        checkpoint: Folder of the checkpoint.
        name: Checkpoint as given by the user.

    Raises:
        FileExistsError: If the folder is not empty, and not that of an unfinished evaluation.
    """
    if output is not None:
        directory = Path(output)
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()) and not (directory / UNFINISHED).is_dir():
            raise FileExistsError(
                f"Expected `output` to be a new folder, or of an unfinished evaluation, but {directory} is not empty."
            )
        return directory
    home = evaluations_of(checkpoint, name)
    home.mkdir(parents=True, exist_ok=True)
    now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for attempt in range(1, 100):
        directory = home / (now if attempt == 1 else f"{now}_{attempt}")
        try:
            directory.mkdir()
        except FileExistsError:
            continue
        return directory
    raise FileExistsError(f"Expected a free name in {home}: pass `output=`.")


def evaluations_of(checkpoint: Path, name: str | None) -> Path:
    """Return the folder of a checkpoint's evaluations; those of a model from the hub go under outputs/.

    Args:
        checkpoint: Folder of the checkpoint.
        name: Checkpoint as given by the user.
    """
    if name is not None and is_hub_name(name):
        return Path("outputs") / name.replace("/", "_") / "evaluation"
    return evaluations(checkpoint)


def write(path: Path, content: str | bytes) -> None:
    """Write a file that appears as a whole or not at all."""
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        Path(partial).chmod(0o644)
        Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write(path, text.getvalue())


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if isinstance(value, float) and math.isinf(value):
        return str(value)  # a gamma; JSON has no number for it
    return None if isinstance(value, float) and math.isnan(value) else value
