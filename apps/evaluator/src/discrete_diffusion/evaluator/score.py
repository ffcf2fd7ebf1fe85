"""Scores of the sequences of a file."""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from discrete_diffusion.checkpoints import Checkpoint, Scores, fetch, load
from discrete_diffusion.checkpoints import score as score_strings
from discrete_diffusion.datasets import read_table
from discrete_diffusion.datasets.files import find_column
from discrete_diffusion.evaluator.device import choose_device
from discrete_diffusion.evaluator.full_disk import advise_on_full_disk
from discrete_diffusion.evaluator.likelihood import ORDERS
from discrete_diffusion.evaluator.point import target_class
from discrete_diffusion.evaluator.record import write
from discrete_diffusion.evaluator.requested import requesting
from discrete_diffusion.evaluator.sequence_file import STDOUT, format_rows

ENDINGS = (".csv", ".tsv", ".jsonl")


def score(config: DictConfig) -> list[dict[str, Any]]:
    """Write the negative log-likelihood of each sequence of a file; return the rows.

    Raises:
        ValueError: If a setting is out of range or does not fit the model, or no sequence can be scored.
        FileNotFoundError: If a file or a checkpoint is missing.
        FileExistsError: If the output exists.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    check(config)
    path: Any = OmegaConf.to_container(config.data)["path"]  # type: ignore[call-overload, index]
    rows = read_table(path, config.data.column)
    column = find_column(rows.column_names, config.data.column, origin=path)
    strings = [string or "" for string in rows[column]]
    first = _scores(config, config.checkpoint, strings, console)
    table = _rows(column, strings, first)
    lines = [_mean("", first)]
    if config.compare is not None:
        second = _scores(config, config.compare, strings, console)
        for row, nats, error in zip(table, second.nats.tolist(), second.standard_error.tolist(), strict=True):
            scored = not math.isnan(nats)
            row |= {"other_nats": nats if scored else None, "other_standard_error": error if scored else None}
        lines = [_mean("first: ", first), _mean("second: ", second), _difference(first, second)]
    with advise_on_full_disk(f"make room, and score again: {config.output} is written at the end."):
        _write(config.output, table)
    console.print("\n".join([*(change.describe(len(strings)) for change in first.changes), *lines]))
    return table


def check(config: DictConfig) -> None:
    """Raise if a setting is out of range, before anything is loaded.

    Raises:
        ValueError: If it is.
        FileExistsError: If the output exists.
    """
    for name, least in (("draws", 1), ("batch_size", 1), ("seed", 0)):
        value = config[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"Expected an integer `{name}` >= {least}, got {value}.")
    if config.order is not None and config.order not in ORDERS:
        raise ValueError(f"Expected `order` to be one of {', '.join(ORDERS)}, got {config.order}.")
    if config.order is not None and config.tokens:
        raise ValueError("Expected no `tokens` with an `order`, whose likelihood is one of the whole sequence.")
    if config.output == STDOUT:
        return
    if Path(config.output).suffix.lower() not in ENDINGS:
        raise ValueError(f"Expected `output` to end in {', '.join(ENDINGS)}, or -, got {config.output}.")
    if Path(config.output).exists():
        raise FileExistsError(f"Expected `output` to be a new file, but {config.output} exists.")


def _scores(config: DictConfig, name: str | None, strings: Sequence[str], console: Console) -> Scores:
    folder = fetch(name)
    checkpoint = requesting(load(folder, trust_remote_code=config.trust_remote_code), config)
    device = choose_device(config.device)
    checkpoint.network.to(device).requires_grad_(False)
    console.print(f"Checkpoint {folder}: {checkpoint.describe()}, on {device}.")
    columns = (TextColumn("Scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(strings))
        return score_strings(
            checkpoint,
            strings,
            y=_labels(config, checkpoint, len(strings)),
            draws=config.draws,
            order=None if config.order is None else ORDERS[config.order](),
            per_token=config.tokens,
            seed=config.seed,
            batch_size=config.batch_size,
            advance=lambda count: bar.advance(task, count),
        )


def _labels(config: DictConfig, checkpoint: Checkpoint, count: int) -> Tensor | None:
    if config.label is not None:
        return torch.full((count,), target_class(config.label, checkpoint.label))
    return None if checkpoint.label is None else torch.full((count,), checkpoint.label.num_classes)


def _rows(column: str, strings: Sequence[str], scores: Scores) -> list[dict[str, Any]]:
    rows = []
    for i, (string, nats, tokens) in enumerate(zip(strings, scores.nats.tolist(), scores.tokens.tolist(), strict=True)):
        scored, error = not math.isnan(nats), scores.standard_error[i].item()
        row: dict[str, Any] = {
            "row": i + 1,
            column: string,
            "nats": nats if scored else None,
            "standard_error": error if scored and not math.isnan(error) else None,
            "tokens": tokens,
            "nats_per_token": nats / tokens if tokens else None,
        }
        if scores.per_token is not None:
            row["token_nats"] = [round(share, 6) for share in scores.per_token[i].tolist()] if scored else None
        rows.append(row)
    return rows


def _write(output: str, rows: Sequence[Mapping[str, Any]]) -> None:
    ending = ".csv" if output == STDOUT else Path(output).suffix.lower()
    text = format_rows(ending, rows, header=True)
    if output == STDOUT:
        sys.stdout.write(text)
    else:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        write(Path(output), text)


def _mean(name: str, scores: Scores) -> str:
    nats = scores.nats[~scores.nats.isnan()]
    bound = "" if scores.exact else ", an upper bound"
    spread = f" ± {(nats.std() / len(nats) ** 0.5).item():.3f}" if len(nats) > 1 else ""
    bits = nats.sum().item() / scores.tokens.sum().item() / math.log(2)
    return f"{name}{_counted(len(nats))}, {nats.mean().item():.3f}{spread} nats each{bound}; {bits:.3f} bits per token."


def _difference(first: Scores, second: Scores) -> str:
    gap = (second.nats - first.nats)[~(second.nats - first.nats).isnan()]
    if len(gap) < 2:
        return "Too few sequences that both models can score to compare them."
    error = (gap.std() / len(gap) ** 0.5).item()
    better = (gap > 0).double().mean().item()
    return (
        f"second - first: {gap.mean().item():+.3f} ± {error:.3f} nats over {_counted(len(gap))} (paired); the first "
        f"model gives {better:.0%} of them a higher likelihood."
    )


def _counted(count: int) -> str:
    return f"{count:,} sequence{'s' * (count != 1)}"
