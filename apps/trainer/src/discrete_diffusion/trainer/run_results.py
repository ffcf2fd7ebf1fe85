"""Results of a training run and its evaluations, for the card of its model."""

import csv
import json
from pathlib import Path
from typing import Any

from discrete_diffusion.checkpoints import RunResults, evaluations


def read_results(checkpoint: str | Path) -> RunResults:
    """Read metrics.csv of a checkpoint's run, and summary.json of its newest evaluation.

    Files that do not exist or cannot be read count as no results.
    """
    run = Path(checkpoint).resolve().parent
    found = sorted(evaluations(checkpoint).glob("*/summary.json"), key=lambda path: path.stat().st_mtime)
    summary = _json(found[-1]) if found else {}
    validation = last_validation(run / "metrics.csv")
    return RunResults(
        {name: float(value) for name, value in validation.items() if name.startswith("val/") and value},
        summary.get("likelihood") or {},
        tuple(summary.get("results") or ()),
        (summary.get("training") or {}).get("property", ""),
    )


def last_validation(metrics: Path) -> dict[str, str]:
    """Return the last row of a run's metrics that has measures of a validation; nothing without one."""
    if not metrics.is_file():
        return {}
    with metrics.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if any(row[name] for name in row if name.startswith("val/"))]
    return rows[-1] if rows else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return summary if isinstance(summary, dict) else {}
