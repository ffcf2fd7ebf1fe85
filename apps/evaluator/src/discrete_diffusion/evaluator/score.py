"""Scores of the sequences of a file."""

import hashlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from discrete_diffusion.checkpoints import Checkpoint, Scorer, Scores, fetch, load
from discrete_diffusion.commandline.full_disk import advise_on_full_disk
from discrete_diffusion.commandline.lock import OutputLock
from discrete_diffusion.datasets import read_table
from discrete_diffusion.datasets.files import find_column
from discrete_diffusion.evaluator.device import choose_device
from discrete_diffusion.evaluator.likelihood import ORDERS
from discrete_diffusion.evaluator.partial_scores import PartialScores
from discrete_diffusion.evaluator.point import target_class
from discrete_diffusion.evaluator.provenance import digests
from discrete_diffusion.evaluator.ranks import ALONE, Ranks
from discrete_diffusion.evaluator.record import write
from discrete_diffusion.evaluator.requested import requesting
from discrete_diffusion.evaluator.sequence_file import STDOUT, format_rows

ENDINGS = (".csv", ".tsv", ".jsonl")
WITHOUT_EFFECT = (
    "checkpoint",
    "compare",
    "data",
    "trust_remote_code",
    "output",
    "device",
    "devices",
    "batch_size",
    "hydra",
)
"""Settings that the scores do not depend on, or on their content, which is compared."""


def score(config: DictConfig, ranks: Ranks = ALONE) -> list[dict[str, Any]]:
    """Write the negative log-likelihood of each sequence of a file; return the rows.

    The value of a sequence depends on the settings, the seed and its index alone. The same command resumes a run that
    was stopped. Of several processes, all score, and the first one reads and writes; the others return no rows.

    Args:
        config: The configuration.
        ranks: The processes that share the batches.

    Raises:
        ValueError: If a setting is out of range or does not fit the model, no sequence can be scored, or another
            process writes to the output.
        FileNotFoundError: If a file or a checkpoint is missing.
        FileExistsError: If the output exists, or a stopped run with this output has other settings.
        KeyboardInterrupt: If the user stops the run.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=not ranks.first)
    check(config)
    column, strings = ranks.broadcast(_read(config) if ranks.first else ("", []))
    folders = [fetch(config.checkpoint), *([] if config.compare is None else [fetch(config.compare)])]
    output = None if config.output == STDOUT or not ranks.first else Path(config.output)
    again = "score again." if output is None else f"the same command goes on with {output}."
    lock = nullcontext() if output is None else OutputLock(output)
    with lock, advise_on_full_disk(f"make room, and {again}"):
        partial = PartialScores(output, _settings(config, folders, column, strings) if output else {})
        try:
            scores = [
                _scores(config, folder, str(model), strings, partial, console, ranks)
                for model, folder in enumerate(folders)
            ]
        except KeyboardInterrupt:
            if output is not None:
                console.print(f"\nStopped after {partial.count():,} of {len(strings) * len(folders):,} scores.")
                console.print(f"Resume with the same command: it goes on with {output}.", markup=False)
            raise
        if not ranks.first:
            return []
        table = _rows(column, strings, *scores)
        _write(config.output, table)
        partial.close()
    lines = [*(change.describe(len(strings)) for change in scores[0].changes)]
    if len(scores) == 1:
        lines.append(_mean("", scores[0]))
    else:
        lines += [_mean("first: ", scores[0]), _mean("second: ", scores[1]), _difference(*scores)]
    console.print("\n".join(lines))
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


def _read(config: DictConfig) -> tuple[str, list[str]]:
    """Return the column of the sequences and its strings."""
    path: Any = OmegaConf.to_container(config.data)["path"]  # type: ignore[call-overload, index]
    rows = read_table(path, config.data.column)
    column = find_column(rows.column_names, config.data.column, origin=path)
    return column, [string or "" for string in rows[column]]


def _settings(config: DictConfig, folders: Sequence[Path], column: str, strings: Sequence[str]) -> dict[str, Any]:
    """Return everything that the scores depend on, as JSON; the models and the sequences by their digests."""
    settings: Any = OmegaConf.to_container(config, resolve=False)
    models = dict(zip(("checkpoint", "compare"), map(digests, folders), strict=False))
    content = hashlib.sha256(json.dumps([column, *strings]).encode()).hexdigest()
    kept = {name: value for name, value in settings.items() if name not in WITHOUT_EFFECT}
    return {**kept, **models, "content of data.path": content}


def _scores(
    config: DictConfig,
    folder: Path,
    model: str,
    strings: Sequence[str],
    partial: PartialScores,
    console: Console,
    ranks: Ranks,
) -> Scores:
    checkpoint = requesting(load(folder, trust_remote_code=config.trust_remote_code), config)
    device = choose_device(config.device, ranks)
    checkpoint.network.to(device).requires_grad_(False)
    console.print(f"Checkpoint {folder}: {checkpoint.describe()}, on {device}.")
    scorer = Scorer(
        checkpoint,
        strings,
        y=_labels(config, checkpoint, len(strings)),
        draws=config.draws,
        order=None if config.order is None else ORDERS[config.order](),
        per_token=config.tokens,
        seed=config.seed,
        batch_size=config.batch_size,
    )
    parts = ranks.broadcast(partial.of(model))
    done = sum(len(part.nats) for part in parts)
    if done:
        console.print(f"Going on with {config.output}, which has {done:,} scores of this model.")
    columns = (TextColumn("Scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(scorer.rows), completed=done)
        batches = scorer.batches(done)
        for start in range(0, len(batches), ranks.count):
            share = ranks.share(batches[start : start + ranks.count])
            new = ranks.collect([(number, scorer(batch)) for number, batch in share])
            partial.add(model, new)
            parts += new
            bar.advance(task, sum(len(part.nats) for part in new))
    return scorer.merged(parts)


def _labels(config: DictConfig, checkpoint: Checkpoint, count: int) -> Tensor | None:
    if config.label is not None:
        return torch.full((count,), target_class(config.label, checkpoint.label))
    return None if checkpoint.label is None else torch.full((count,), checkpoint.label.num_classes)


def _rows(column: str, strings: Sequence[str], scores: Scores, other: Scores | None = None) -> list[dict[str, Any]]:
    rows = []
    for i, (string, tokens) in enumerate(zip(strings, scores.tokens.tolist(), strict=True)):
        nats, error = _estimate(scores, i)
        row: dict[str, Any] = {
            "row": i + 1,
            column: string,
            "nats": nats,
            "standard_error": error,
            "tokens": tokens,
            "nats_per_token": nats / tokens if nats is not None else None,
        }
        if scores.per_token is not None:
            row["token_nats"] = None if nats is None else [round(share, 6) for share in scores.per_token[i].tolist()]
        if other is not None:
            row |= dict(zip(("other_nats", "other_standard_error"), _estimate(other, i), strict=True))
        rows.append(row)
    return rows


def _estimate(scores: Scores, row: int) -> tuple[float | None, float | None]:
    """Return the nats of a row and their standard error, None if the row or the error is unknown."""
    nats, error = scores.nats[row].item(), scores.standard_error[row].item()
    return (None, None) if math.isnan(nats) else (nats, None if math.isnan(error) else error)


def _write(output: str, rows: Sequence[Mapping[str, Any]]) -> None:
    ending = ".csv" if output == STDOUT else Path(output).suffix.lower()
    text = format_rows(ending, rows, header=True)
    if output == STDOUT:
        sys.stdout.write(text)
    else:
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
