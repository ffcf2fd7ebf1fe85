"""HTML report of an evaluation, one self-contained file."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from omegaconf import OmegaConf

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.evaluator.domains.domain import Domain
from discrete_diffusion.evaluator.domains.report_layout import ReportLayout
from discrete_diffusion.evaluator.embedded_pictures import plots
from discrete_diffusion.evaluator.pictures import pretty
from discrete_diffusion.evaluator.point import Point
from discrete_diffusion.evaluator.record import Record, write
from discrete_diffusion.evaluator.report_numbers import (
    around,
    cost_table,
    every_table,
    likelihood_parts,
    number,
    order_table,
    sweep_table,
)
from discrete_diffusion.evaluator.report_samples import shown_samples
from discrete_diffusion.evaluator.report_trajectory import shown_trajectory
from discrete_diffusion.guidance import State

SECTIONS = ("training", "results", "likelihood", "configuration", "versions", "command", "checkpoint", "reward")


def write_report(
    directory: Path,
    *,
    record: Record,
    domain: Domain,
    checkpoint: Checkpoint,
    states: Mapping[Point, Sequence[State]],
    chosen: Point,
    by_property: bool = True,
    draw: bool = True,
) -> Path:
    """Write report.html: numbers from summary.json, plots, samples, and trajectories of some samples.

    Args:
        directory: Folder of the evaluation.
        record: Runs of the evaluation.
        domain: Domain of the samples.
        checkpoint: The generator.
        states: Trajectories of the first samples of the first seed, by condition.
        chosen: Condition that is shown first, with its trajectories.
        by_property: Whether the property is among the main numbers: not if classes of another kind are requested.
        draw: Whether samples are drawn, if the domain has drawings.
    """
    summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    layout = domain.layout
    illustrate = domain.illustrate if draw else None
    conditions = shown_samples(record.runs, checkpoint, layout, illustrate)
    trajectory = shown_trajectory(states.get(chosen) or [], checkpoint, layout, illustrate)
    results = summary["results"]
    index = list(dict.fromkeys(run.condition for run in record.runs)).index(chosen)
    context = {
        "subject": checkpoint.describe(),
        "title": f"Evaluation: {domain.noun}",
        "summary": summary,
        "noun": domain.noun,
        "property": pretty(domain.property_name),
        "tiles": _tiles(summary, results[index], domain, chosen.title(), by_property),
        "likelihood": likelihood_parts(summary["likelihood"]) if "likelihood" in summary else None,
        "orders": order_table(summary["likelihood"]) if "likelihood" in summary else None,
        "sweep": sweep_table(results, summary["training"], domain.shown),
        "cost": cost_table(results),
        "every": every_table(results),
        "plots": plots(directory, domain),
        "conditions": conditions,
        "layout": layout,
        "legend": _legend(layout, conditions),
        "trajectory": trajectory,
        "chosen": chosen,
        "data": {
            "layout": layout.for_script(),
            "property": pretty(domain.property_name),
            "conditions": conditions,
            "chosen": index,
            "trajectory": trajectory,
        },
        "facts": {name.replace("_", " "): value for name, value in summary.items() if name not in SECTIONS},
        "configuration": OmegaConf.to_yaml(OmegaConf.create(summary.get("configuration", {}))),
        "model": OmegaConf.to_yaml(OmegaConf.create(checkpoint.config)),
        "written": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
    }
    path = directory / "report.html"
    write(path, _environment().get_template("report.html").render(context))
    return path


def _environment() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["pieces"] = _pieces
    return made


def _legend(layout: ReportLayout, conditions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the names of the color classes of the samples, by class; those of words only if a sample has them."""
    kinds = {kind for one in conditions for sample in one["samples"] for kind, _ in sample["text"]}
    legend = {kind: name for kind, name in layout.legend if kind in kinds or not layout.splits_words}
    return legend | ({"special": "special token"} if "special" in kinds else {})


def _pieces(text: str) -> list[str]:
    """Split a path or a command where a narrow screen may break it: after a slash, a comma, `=` and `_`."""
    return re.split(r"(?<=[/,=_])", text)


def _tiles(
    summary: Mapping[str, Any], row: Mapping[str, Any], domain: Domain, title: str, by_property: bool
) -> list[dict[str, str]]:
    """Return the main numbers; `row` is that of the chosen condition."""
    rows, name, tiles = summary["results"], pretty(domain.property_name), []
    if "likelihood" in summary:
        bits, error = (summary["likelihood"][key] for key in ("bits_per_token", "bits_per_token_error"))
        note = f"± {around(error)} standard error" if error else ""
        tiles.append({"value": number(bits, error), "name": "bits per token", "note": note})
    drawn = number(row["generated"])
    tiles.append({"value": number(row["novel"]), "name": f"novel {domain.noun} of {drawn}", "note": title})
    if row.get("accuracy") is not None:
        accuracy = {"value": f"{row['accuracy']:.0%}", "name": f"{domain.noun} of the requested class, by the judge"}
        tiles.append(accuracy | {"note": title})
    if by_property:
        known = number(summary["training"]["mean"])
        mean = {"value": number(row["novel_property_mean"]), "name": f"mean {name} of novel {domain.noun}"}
        tiles.append(mean | {"note": f"training data: {known}"})
    total, seconds = (sum(row["seeds"] * row[key] for row in rows) for key in ("generated", "seconds"))
    tiles.append({"value": number(total), "name": "samples in all", "note": f"{number(seconds)} s of sampling"})
    return tiles
