"""Results of a run: likelihood and samples of its model."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from discrete_diffusion.checkpoints.folders import evaluations


@dataclass(frozen=True)
class RunResults:
    """What was measured of a model.

    Attributes:
        validation: the last validation of its training, by name.
        likelihood: what the evaluator said of validation data, by name.
        results: a row for each guidance and strength that was evaluated.
        property: what the evaluator measured of samples.
    """

    validation: Mapping[str, float] = field(default_factory=dict)
    likelihood: Mapping[str, Any] = field(default_factory=dict)
    results: tuple[Mapping[str, Any], ...] = ()
    property: str = ""


def read_results(checkpoint: str | Path) -> RunResults:
    """Read what lies beside a checkpoint: metrics.csv of its run, and summary.json of its newest evaluation.

    What is not there, or cannot be read, was not measured.
    """
    run = Path(checkpoint).resolve().parent
    found = sorted(evaluations(checkpoint).glob("*/summary.json"), key=lambda path: path.stat().st_mtime)
    told = _json(found[-1]) if found else {}
    return RunResults(
        _last_validation(run / "metrics.csv"),
        told.get("likelihood") or {},
        tuple(told.get("results") or ()),
        (told.get("training") or {}).get("property", ""),
    )


def _last_validation(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if any(row[name] for name in row if name.startswith("val/"))]
    last = rows[-1] if rows else {}
    return {name: float(value) for name, value in last.items() if name.startswith("val/") and value}


def _json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
