"""Likelihood of validation data as an entry of summary.json, printed as it is measured."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.datasets import SequenceData
from discrete_diffusion.evaluator.likelihood import ORDERS, counted_in, measure_likelihood, measure_order_likelihood
from discrete_diffusion.evaluator.progress import progress
from discrete_diffusion.evaluator.ranks import Ranks
from discrete_diffusion.evaluator.report import likelihood_lines, likelihood_table


def likelihood_entry(
    config: DictConfig,
    checkpoint: Checkpoint,
    data: SequenceData,
    device: torch.device,
    console: Console,
    ranks: Ranks,
) -> Mapping[str, Any]:
    """Measure and print the likelihood of validation data; return its entries of summary.json."""
    rows = data.validation
    if config.validation_rows is not None:
        rows = rows.select(range(min(config.validation_rows, len(rows))))
    with progress(console) as bar:
        task = bar.add_task("Likelihood of validation data", total=len(rows) * config.repeats)
        measured = measure_likelihood(
            checkpoint,
            rows,
            repeats=config.repeats,
            batch_size=config.batch_size,
            device=device,
            advance=lambda count: bar.advance(task, count * ranks.count),
            ranks=ranks,
        )
    unit, units = counted_in(checkpoint, rows)
    bits = None if measured.nats_per_sequence is None else measured.nats / units / math.log(2)
    nats, error = measured.nats_per_sequence, measured.nats_per_sequence_error
    bits_error = bits * error / nats if bits and error and nats else None
    per_unit = None if unit == "token" else (unit, bits, bits_error)
    console.print(likelihood_lines(measured, (data.label or data.values) is not None, per_unit))
    row: dict[str, Any] = {**measured.row(), "repeats": config.repeats, "tokens_counted": "all but padding"}
    if unit != "token":
        row[f"bits_per_{unit}"] = bits
        row[f"bits_per_{unit}_error"] = bits_error
    if config.likelihood_orders:
        row["orders"] = _order_entries(config, checkpoint, rows, device, console, ranks)
        console.print(likelihood_table(row))
    return row


def _order_entries(
    config: DictConfig, checkpoint: Checkpoint, rows: Any, device: torch.device, console: Console, ranks: Ranks
) -> dict[str, dict[str, Any]]:
    """Return the exact likelihood under each order of the configuration, with its cost."""
    found = {}
    with progress(console) as bar:
        for name in config.likelihood_orders:
            task = bar.add_task(f"Likelihood, {name.replace('_', ' ')} first", total=len(rows))
            exact, evaluations = measure_order_likelihood(
                checkpoint,
                rows,
                ORDERS[name](),
                batch_size=config.batch_size,
                device=device,
                advance=lambda count, task=task: bar.advance(task, count * ranks.count),  # type: ignore[misc]
                ranks=ranks,
            )
            found[name] = {**exact.row(), "evaluations_per_sequence": evaluations}
    return found
