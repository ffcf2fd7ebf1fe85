"""Comparison of samplers: quality and diversity against network evaluations."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from jaxtyping import Int
from rich.table import Table
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.eval import CostPanel, confidence_interval, distinct_n, draw_cost_panels, unigram_entropy
from discrete_diffusion.evaluator.domains.domain import Domain, Number, Run
from discrete_diffusion.evaluator.pictures import pretty
from discrete_diffusion.evaluator.report import with_interval
from discrete_diffusion.evaluator.report_numbers import number

NGRAM = 4
"""Tokens in the n-grams whose distinct share is reported."""
COLUMNS = {"entropy": "entropy", "distinct_4grams": "distinct 4-grams", "distinct_share": "distinct"}
"""Columns of `diversity`, and their headings."""


def diversity(ids: Int[Tensor, "n l"], tokenizer: PreTrainedTokenizerBase) -> dict[str, Number]:
    """Return the diversity of samples, over their tokens without special ones.

    `entropy` is the mean unigram entropy of a sample in nats, `distinct_4grams` the share of distinct 4-grams among
    those of all samples, and `distinct_share` the share of distinct samples. Low numbers mean repetition. The shares
    fall as the number of samples grows.
    """
    special = set(tokenizer.all_special_ids)
    samples = [[token for token in row if token not in special] for row in ids.tolist()]
    entropies = [entropy for sample in samples if (entropy := unigram_entropy(sample)) is not None]
    return {
        "entropy": fmean(entropies) if entropies else None,
        "distinct_4grams": distinct_n(samples, NGRAM),
        "distinct_share": len(set(map(tuple, samples))) / len(samples),
    }


def samplers_table(summary: Sequence[Mapping[str, Any]], domain: Domain, training: Mapping[str, Number]) -> Table:
    """Return the table of a comparison: one row per sampler, setting and guidance, and one of the training data.

    Args:
        summary: Rows of the summary.
        domain: Kind of the data.
        training: `diversity` of as many training sequences, or nothing.
    """
    counts = {row["generated"] for row in summary}
    seeds = max(row["seeds"] for row in summary)
    over = f"mean ± 95 % interval over {seeds} seeds" if seeds > 1 else "one seed, no intervals"
    samples = f"{max(counts):,.0f} samples" if len(counts) == 1 else "Samples"
    table = Table(title=f"{samples} for each sampler, setting and seed; {over}", title_justify="left")
    columns: list[tuple[str, Callable[[Mapping[str, Any]], str]]] = [
        ("sampler", lambda row: row["sampler"]),
        ("setting", lambda row: row["setting"]),
    ]
    if any(row["gamma"] is not None for row in summary):
        columns.append(("guidance", _guidance))
    columns.append(("evaluations", lambda row: number(row["evaluations_per_sample"], decimals=1)))
    for column, heading in domain.shown.items():
        if column in ("valid", "novel"):
            columns.append((heading, partial(with_interval, name=column, decimals=0)))
    if "valid" not in domain.shown:
        columns.append((f"mean {domain.property_name}", partial(with_interval, name=_mean(summary), decimals=3)))
    for column, heading in COLUMNS.items():
        columns.append((heading, partial(with_interval, name=column, decimals=2)))
    columns.append(("seconds", lambda row: number(row["seconds"], decimals=1)))
    for heading, _ in columns:
        named = heading in ("sampler", "setting", "guidance")
        table.add_column(heading, justify="left" if named else "right", no_wrap=named)
    for row in summary:
        table.add_row(*(tell(row) for _, tell in columns))
    if training:
        mean = number(domain.training["mean"], decimals=3)
        known = {"sampler": "training data", f"mean {domain.property_name}": mean}
        known |= {heading: number(training[column], decimals=2) for column, heading in COLUMNS.items()}
        table.add_section()
        table.add_row(*(known.get(heading, "") for heading, _ in columns))
    table.caption = "evaluations: forward passes of the network for each sample; entropy: of tokens, in nats"
    table.caption_justify = "left"
    return table


def draw_samplers(
    runs: Sequence[Run],
    rows: Sequence[Mapping[str, Any]],
    domain: Domain,
    training: Mapping[str, Number],
    directory: Path,
) -> Path:
    """Draw quality and entropy against network evaluations: a row of panels for each, a column for each guidance.

    Quality is the share of valid samples where the domain knows invalid ones, else the mean property of all samples.

    Args:
        runs: Every run.
        rows: Their rows of results.csv.
        domain: Kind of the data.
        training: `diversity` of as many training sequences, or nothing.
        directory: Folder of the picture.
    """
    groups: dict[str, dict[str, dict[str, list[Mapping[str, Any]]]]] = {}
    for run, row in zip(runs, rows, strict=True):
        if not run.condition.data_labels:
            lines = groups.setdefault(_guidance(row), {})
            lines.setdefault(run.condition.sampler, {}).setdefault(run.condition.setting, []).append(row)

    if "valid" in domain.shown:
        label, quality = f"valid {domain.noun}", lambda row: row["valid"] / row["generated"]
        marks = {}
    else:
        name = _mean(rows)
        label, quality = f"mean {pretty(domain.property_name)}", lambda row: row[name]
        marks = {} if domain.training["mean"] is None else {"training data": float(domain.training["mean"])}

    def lines_of(group: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]], value: Callable[..., Any]) -> Any:
        return {
            sampler: [
                (fmean(row["evaluations_per_sample"] for row in some), confidence_interval(map(value, some)))
                for some in settings.values()
            ]
            for sampler, settings in group.items()
        }

    entropy = training.get("entropy")
    several = len(groups) > 1
    panels = [
        CostPanel(f"Quality{f', {name}' * several}", label, lines_of(group, quality), "valid" in domain.shown, marks)
        for name, group in groups.items()
    ]
    panels += [
        CostPanel(
            f"Diversity{f', {name}' * several}",
            "token entropy of a sample in nats",
            lines_of(group, lambda row: row["entropy"]),
            marks={} if entropy is None else {"training data": float(entropy)},
        )
        for name, group in groups.items()
    ]
    seeds = len({run.seed for run in runs})
    bars = f"bars: 95 % confidence intervals over {seeds} seeds" if seeds > 1 else "one seed"
    return draw_cost_panels(
        panels,
        directory / "samplers.png",
        x_label="network evaluations for each sample",
        columns=len(groups),
        note=f"{bars}   ·   low entropy means that samples repeat themselves",
    )


def _guidance(row: Mapping[str, Any]) -> str:
    return "unguided" if row["gamma"] is None else f"{row['guidance']}, γ = {row['gamma']:g}"


def _mean(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the column of the mean property, of all samples where there is one."""
    return next(name for name in ("all_property_mean", "valid_property_mean") if name in rows[0])
