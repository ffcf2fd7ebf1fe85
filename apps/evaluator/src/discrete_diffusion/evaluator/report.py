"""What an evaluation prints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.panel import Panel
from rich.table import Table

from discrete_diffusion.eval import Likelihood
from discrete_diffusion.evaluator.metrics import Metrics


def results_table(summary: Sequence[Mapping[str, Any]], metrics: Metrics) -> Table:
    """A row for each condition, the training data's last."""
    name = metrics.property_name
    seeds = max(row["seeds"] for row in summary)
    samples = summary[0]["generated"]
    over = f"mean ± 95 % interval over {seeds} seeds" if seeds > 1 else "one seed, no intervals"
    table = Table(title=f"{samples:,.0f} samples for each gamma and seed; {over}", title_justify="left")
    table.add_column("γ", justify="right")
    table.add_column("condition")
    for heading in metrics.shown.values():
        table.add_column(heading, justify="right")
    table.add_column(f"mean {name} of novel", justify="right")
    table.add_column("median", justify="right")
    table.add_column("evaluations", justify="right")
    table.add_column("seconds", justify="right")
    for row in summary:
        table.add_row(
            "–" if row["gamma"] is None else f"{row['gamma']:g}",
            row["condition"],
            *(_with_interval(row, column, 0) for column in metrics.shown),
            _with_interval(row, "novel_property_mean", 3),
            _number(row["novel_property_median"], 3),
            f"{row['network_evaluations']:,.0f}",
            _number(row["seconds"], 1),
        )
    table.add_section()
    training = metrics.training
    blank = [""] * (len(metrics.shown))
    table.add_row("", "training data", *blank, _number(training["mean"], 3), _number(training["median"], 3), "", "")
    table.caption = (
        f"training data: {name} quartiles {_number(training['lower_quartile'], 3)} and "
        f"{_number(training['upper_quartile'], 3)}, 90th percentile {_number(training['p90'], 3)}"
    )
    table.caption_justify = "left"
    return table


def likelihood_lines(likelihood: Likelihood, labeled: bool) -> str:
    """The likelihood in words."""
    nats, bits = likelihood.nats_per_sequence, likelihood.bits_per_token
    parts = ", ".join(f"{name} {value:.3f}" for name, value in likelihood.parts.items())
    return (
        f"Negative log-likelihood of {likelihood.sequences:,} validation sequences"
        f"{', each given its label' * labeled}:\n"
        f"  {_number(nats, 3)} ± {_number(likelihood.nats_per_sequence_error, 3)} nats per sequence ({parts})\n"
        f"  {_number(bits, 3)} ± {_number(likelihood.bits_per_token_error, 3)} bits per token, perplexity "
        f"{_number(likelihood.perplexity, 3)} (± standard error; tokens counted without padding)"
    )


def closing(directory: Path) -> Panel:
    """Where everything is."""
    told = {
        "results.csv": "a row for each gamma and seed",
        "summary.csv": "means and intervals over seeds; summary.json also has likelihood, configuration, versions",
        "samples": "every sample",
        "frontier.png": "novel molecules against their mean property",
        "distribution.png": "the property in the training data and in the samples",
        "molecules.png": "novel molecules",
        "trajectory.gif": "samples on their way from noise to data",
    }
    lines = [f"{name:18}{text}" for name, text in told.items() if (directory / name).exists()]
    return Panel("\n".join(lines), title=str(directory), expand=False)


def _with_interval(row: Mapping[str, Any], name: str, decimals: int) -> str:
    mean, half = row[name], row[f"{name}_ci95"]
    return _number(mean, decimals) + (f" ± {half:.{decimals}f}" if half is not None else "")


def _number(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:,.{decimals}f}"
