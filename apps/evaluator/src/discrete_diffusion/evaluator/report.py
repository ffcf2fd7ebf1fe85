"""Printed results of an evaluation."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.panel import Panel
from rich.table import Table

from discrete_diffusion.eval import Likelihood
from discrete_diffusion.evaluator.domains.domain import Domain
from discrete_diffusion.evaluator.report_numbers import around, number


def results_table(summary: Sequence[Mapping[str, Any]], metrics: Domain, properties: Iterable[str] = ()) -> Table:
    """Return the table of results: one row for each condition, then the training data. Empty columns are left out.

    Args:
        summary: Rows of summary.csv.
        metrics: Kind of data.
        properties: Names of the further properties of samples.
    """
    name = metrics.property_name
    seeds = max(row["seeds"] for row in summary)
    counts = {row["generated"] for row in summary}
    samples = f"{max(counts):,.0f} samples" if len(counts) == 1 else "Samples"
    over = f"mean ± 95 % interval over {seeds} seeds" if seeds > 1 else "one seed, no intervals"
    table = Table(title=f"{samples} for each gamma and seed; {over}", title_justify="left")
    several = len({row["guidance"] for row in summary} - {"none"}) > 1
    columns: list[tuple[str, Callable[[Mapping[str, Any]], str]]] = []
    # Of several methods there is much to tell: what is left out here is in summary.csv.
    if several:
        columns.append(("guidance", lambda row: row["guidance"]))
    columns.append(("γ", lambda row: _gamma(row["gamma"])))
    if not several:
        columns.append(("condition", lambda row: row["condition"]))
    if len(counts) > 1:
        columns.append(("samples", lambda row: number(row["generated"], decimals=0)))
    for column, heading in metrics.shown.items():
        if not several or column in ("valid", "novel", "distinct"):
            columns.append((heading, partial(with_interval, name=column, decimals=0)))
    columns.append((f"mean {name} of novel", partial(with_interval, name="novel_property_mean", decimals=3)))
    for column in properties:
        columns.append((f"mean {column}", partial(with_interval, name=f"mean_{column}", decimals=3)))
    if not several:
        columns.append(("median", lambda row: number(row["novel_property_median"], decimals=3)))
    if any(row.get("request_error") is not None for row in summary):
        columns.append(("distance from request", partial(with_interval, name="request_error", decimals=3)))
    if any(row.get("accuracy") is not None for row in summary):
        columns.append(("accuracy", partial(with_interval, name="accuracy", decimals=3)))
    if not several and any(row["mean_ess_share"] is not None for row in summary):
        columns.append(("ESS", lambda row: _share(row["mean_ess_share"])))
        columns.append(("resampled", lambda row: _share(row["resampled_share"])))
    columns.append(("evaluations", lambda row: number(row["network_evaluations"], decimals=0)))
    for column, heading in (("classifier_rows", "classifier"), ("reward_calls", "reward")):
        if any(row[column] for row in summary):
            columns.append((heading, lambda row, column=column: number(row[column], decimals=0)))  # type: ignore[misc]
    columns.append(("seconds", lambda row: number(row["seconds"], decimals=1)))
    for heading, _ in columns:
        named = heading in ("guidance", "condition")
        table.add_column(heading, justify="left" if named else "right", no_wrap=named)
    for row in summary:
        table.add_row(*(cell(row) for _, cell in columns))
    table.add_section()
    training = metrics.training
    known = {
        "guidance" if several else "condition": "training data",
        f"mean {name} of novel": number(training["mean"], decimals=3),
    }
    known["median"] = number(training["median"], decimals=3)
    table.add_row(*(known.get(heading, "") for heading, _ in columns))
    table.caption = (
        f"training data: {name} quartiles {number(training['lower_quartile'], decimals=3)} and "
        f"{number(training['upper_quartile'], decimals=3)}, 90th percentile {number(training['p90'], decimals=3)}"
    )
    if any(row["classifier_rows"] for row in summary):
        table.caption += "; classifier: its forward passes, a row each (backward passes are not counted)"
    table.caption_justify = "left"
    return table


def likelihood_lines(
    likelihood: Likelihood, labeled: bool, per_unit: tuple[str, float | None, float | None] | None
) -> str:
    """Return the likelihood in words, with bits per character or dimension and their error if the data have a unit."""
    error = likelihood.nats_per_sequence_error
    other = "" if per_unit is None else f"\n  {_with_error(*per_unit[1:])} bits per {per_unit[0]}"
    parts = ", ".join(f"{name} {number(value, error)}" for name, value in likelihood.parts.items())
    return (
        f"Negative log-likelihood of {likelihood.sequences:,} validation sequences"
        f"{', each given its label' * labeled} (± standard error):\n"
        f"  {_with_error(likelihood.nats_per_sequence, error)} nats per sequence ({parts})\n"
        f"  {_with_error(likelihood.bits_per_token, likelihood.bits_per_token_error)} bits per token, perplexity "
        f"{_with_error(likelihood.perplexity, likelihood.perplexity_error)} (tokens counted without padding){other}"
    )


def likelihood_table(likelihood: Mapping[str, Any]) -> Table:
    """Return the table of likelihoods: the bound, and the exact likelihood under each order of revealing.

    Args:
        likelihood: Entry `likelihood` of summary.json, with `orders`.
    """
    table = Table(title="Negative log-likelihood under each way of sampling", title_justify="left")
    table.add_column("sampler")
    for heading in ("nats per sequence", "bits per token", "perplexity", "evaluations per sequence"):
        table.add_column(heading, justify="right")
    rows = {"any order (upper bound)": {**likelihood, "evaluations_per_sequence": likelihood["repeats"]}}
    rows |= {f"{name.replace('_', ' ')} first (exact)": row for name, row in likelihood["orders"].items()}
    for name, row in rows.items():
        keys = ("nats_per_sequence", "bits_per_token")
        numbers = (f"{number(row[key], decimals=3)} ± {number(row[f'{key}_error'], decimals=3)}" for key in keys)
        table.add_row(
            name, *numbers, number(row["perplexity"], decimals=3), number(row["evaluations_per_sequence"], decimals=1)
        )
    return table


def closing(directory: Path, domain: Domain) -> Panel:
    """Return a panel that lists the files of the evaluation."""
    captions = {
        "report.html": "everything on one page, for a browser",
        "results.csv": "a row for each guidance, gamma and seed",
        "summary.csv": "means and intervals over seeds; summary.json also has likelihood, configuration, versions",
        "samples": "every sample",
        "samplers.png": "quality and diversity against network evaluations, a line for each sampler",
        "frontier.png": f"novel {domain.noun} against their mean property",
        "accuracy.png": f"novel {domain.noun} against the share of the requested class",
        "cost.png": "the mean property against the seconds it takes",
        "particles.png": "effective particles, and how often they are resampled",
        "distribution.png": "the property in the training data and in the samples",
        **{f"{name}.png": caption for name, caption in domain.pictures.items()},
        "trajectory.gif": "samples on their way from noise to data",
    }
    lines = [f"{name:18}{text}" for name, text in captions.items() if (directory / name).exists()]
    return Panel("\n".join(lines), title=str(directory), expand=False)


def with_interval(row: Mapping[str, Any], name: str, decimals: int) -> str:
    """Return a number of a row of the summary with the half-width of its interval, if it has one."""
    mean, half = row[name], row[f"{name}_ci95"]
    return number(mean, decimals=decimals) + (f" ± {half:.{decimals}f}" if half is not None else "")


def _with_error(value: float | None, error: float | None) -> str:
    return number(value, error) + (f" ± {around(error)}" if error else "")


def _gamma(value: float | None) -> str:
    return "–" if value is None else "∞" if math.isinf(value) else f"{value:g}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
