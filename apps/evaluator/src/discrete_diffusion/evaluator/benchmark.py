"""Molecular optimization under a budget of oracle calls (PMO), by every optimizer on one model."""

import csv
import hashlib
import heapq
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from discrete_diffusion.checkpoints import Checkpoint, fetch, load
from discrete_diffusion.commandline.full_disk import advise_on_full_disk
from discrete_diffusion.commandline.lock import FolderLock
from discrete_diffusion.commandline.settings import nearest
from discrete_diffusion.datasets import read_table
from discrete_diffusion.datasets.files import find_column
from discrete_diffusion.eval import (
    PMO_TASKS,
    CountedOracle,
    OracleBudgetError,
    auc_top_k,
    canonical_smiles,
    confidence_interval,
    guacamol_score,
)
from discrete_diffusion.evaluator.device import choose_device
from discrete_diffusion.evaluator.optimizers import OPTIMIZERS, has_mol_ga, with_start
from discrete_diffusion.evaluator.provenance import provenance
from discrete_diffusion.evaluator.record import evaluations_of, write
from discrete_diffusion.evaluator.report import with_interval
from discrete_diffusion.evaluator.same_settings import keep_settings
from discrete_diffusion.evaluator.sequence_file import SequenceFile, format_rows, is_finished
from discrete_diffusion.guidance import AncestralSampler

IDLE_ROUNDS = 10
"""Rounds in a row without a new molecule after which an optimizer stops before its budget."""
NUMBERS = ("auc_top10", "top1", "top10", "top100", "calls", "seconds")
"""Columns of results.csv that are averaged over seeds."""
PUBLISHED_BUDGET = 10_000
PUBLISHED = {
    "GenMol": "18.36",
    "InVirtuoGen": "16.68, 18.99 with prescreening",
    "Genetic GFN": "16.21",
    "Mol GA": "14.71",
    "REINVENT": "14.18",
    "Graph GA": "13.74",
}
"""Published sums of AUC top-10 over all 23 tasks of PMO."""


@dataclass(frozen=True)
class Run:
    """One optimizer on one task with one seed."""

    task: str
    optimizer: str
    seed: int

    def path(self, directory: Path) -> Path:
        """Return the file of its oracle calls."""
        return directory / "calls" / f"{self.task}_{self.optimizer}_seed-{self.seed}.csv"


def benchmark(config: DictConfig) -> Path:
    """Run every optimizer on every task with every seed, print the results, and return the folder that has them.

    The same command resumes a benchmark that was stopped, with the results of one that was not, except for times.

    Args:
        config: The configuration.

    Raises:
        ValueError: If a setting is out of range or does not fit the model.
        FileExistsError: If the folder belongs to other settings or something else.
        KeyboardInterrupt: If the user stops the run; the files then have every whole round.
    """
    console = Console(width=None if sys.stdout.isatty() else 132, highlight=False, soft_wrap=True)
    check(config)
    folder = fetch(config.checkpoint)
    checkpoint = load(folder, trust_remote_code=config.trust_remote_code)
    optimizers = choose_optimizers(config.optimizers, checkpoint)
    device = choose_device(config.device)
    checkpoint.network.to(device).requires_grad_(False)
    console.print(f"Checkpoint {folder}: {checkpoint.describe()}, on {device}.")
    directory = Path(config.output or evaluations_of(folder, config.checkpoint) / f"pmo-{config.budget}")
    runs = [
        Run(task, optimizer, seed)
        for task in dict.fromkeys(config.tasks or PMO_TASKS)
        for optimizer in optimizers
        for seed in dict.fromkeys(config.seeds)
    ]
    start = [] if config.start is None else read_start(config.start)
    facts = provenance(config, folder, device)
    settings = {
        "budget": config.budget,
        "checkpoint": {name: facts[name] for name in ("weights_sha256", "config_sha256")},
        "versions": facts["versions"],
    }
    if start:
        settings["content of start"] = hashlib.sha256("\n".join(start).encode()).hexdigest()
    expect_own_folder(directory)
    with FolderLock(directory, work=f"writing to {directory}", setting="output"):
        keep_settings(directory, directory / "settings.json", settings, noun="a benchmark")
        rows: list[dict[str, Any]] = []
        try:
            with advise_on_full_disk(f"make room, and the same command goes on with {directory}."):
                for row in _results(runs, checkpoint, config.budget, start, directory, console):
                    rows.append(row)
                    _write(directory, facts, rows)
        except KeyboardInterrupt:
            console.print(f"\nStopped. {len(rows)} of {len(runs)} runs are in {directory / 'results.csv'}.")
            console.print(f"The same command goes on with {directory}.", markup=False)
            raise
    for part in _report(rows, config.budget):
        console.print(part)
    console.print(f"Results: {directory}", markup=False)
    return directory


def check(config: DictConfig) -> None:
    """Raise if a task or an optimizer is unknown, before anything is loaded.

    Raises:
        ValueError: If one is.
    """
    for setting, known in (("tasks", PMO_TASKS), ("optimizers", tuple(OPTIMIZERS))):
        for name in config[setting] or ():
            if name not in known:
                near = nearest(name, known)
                hint = near if near != "." else f": the {setting} are {', '.join(known)}."
                raise ValueError(f"Unknown {setting.removesuffix('s')} {name}{hint}")
    if "genetic" in (config.optimizers or ()) and not has_mol_ga():
        raise ValueError("Expected the package mol_ga for `optimizers=[genetic]`: install mol_ga, or leave it out.")


def choose_optimizers(names: Sequence[str] | None, checkpoint: Checkpoint) -> list[str]:
    """Return the optimizers by their names, by default all that can run.

    Raises:
        ValueError: If the model generates no SMILES, or an optimizer is not defined for it.
    """
    kind = checkpoint.config["data"].get("kind", "strings")
    if kind != "molecules":
        raise ValueError(f"Expected a model of SMILES (data of the kind molecules), got one of {kind}.")
    diffusion = isinstance(checkpoint.sampler(), AncestralSampler)
    defined = [name for name, one in OPTIMIZERS.items() if diffusion or not one.needs_diffusion]
    if names is None:
        return [name for name in defined if name != "genetic" or has_mol_ga()]
    for name in names:
        if name not in defined:
            raise ValueError(
                f"Expected a diffusion model for {name}, got one that goes from left to right, whose optimizers are "
                f"{', '.join(defined)}."
            )
    return list(dict.fromkeys(names))


def read_start(path: str) -> list[str]:
    """Read the SMILES of a file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it cannot be read, or has no valid molecule.
    """
    rows = read_table(path)
    strings = [one for one in rows[find_column(rows.column_names, origin=path)][:] if one]
    if not any(map(canonical_smiles, strings)):
        raise ValueError(f"Expected SMILES in {path} as `start`, got no valid one.")
    return strings


def optimize(
    run: Run,
    checkpoint: Checkpoint,
    budget: int,
    directory: Path,
    advance: Callable[[int], None] = lambda calls: None,
    start: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Run an optimizer until its budget is spent; return its oracle calls, the rows of its file, in their order.

    The file grows by whole rounds, and a run that was stopped goes on after the last of them. An optimizer that finds
    no new molecule in `IDLE_ROUNDS` rounds in a row stops before its budget.

    Args:
        run: Task, optimizer and seed.
        checkpoint: Generator of SMILES.
        budget: Number of oracle calls.
        directory: Folder of the benchmark.
        advance: Called with the number of oracle calls so far.
        start: Molecules that `remask` and `genetic` draw their first ones from, instead of samples.
    """
    path, optimizer = run.path(directory), with_start(OPTIMIZERS[run.optimizer], start)
    if is_finished(path):
        return _read(path)
    with SequenceFile(str(path), {}) as file:
        calls = _read(path)

        def score(smiles: str) -> float:
            advance(oracle.calls + 1)
            return guacamol_score(smiles, run.task)

        oracle = CountedOracle(score, budget, invalid=-math.inf)
        oracle.values |= {call["smiles"]: call["score"] for call in calls}
        advance(oracle.calls)
        number, before = (calls[-1]["round"] + 1, calls[-1]["seconds"]) if calls else (0, 0.0)
        started, idle = time.perf_counter() - before, 0
        while oracle.calls < budget and idle < IDLE_ROUNDS:
            with suppress(OracleBudgetError):
                optimizer(checkpoint, oracle, run.seed, number)
            seconds = round(time.perf_counter() - started, 3)
            new = [
                {"call": call, "round": number, "smiles": smiles, "score": value, "seconds": seconds}
                for call, (smiles, value) in enumerate(oracle.values.items(), 1)
                if call > len(calls)
            ]
            file.write(new, {})
            calls += new
            idle = 0 if new else idle + 1
            number += 1
        file.finish()
    return calls


def result(run: Run, calls: Sequence[Mapping[str, Any]], budget: int) -> dict[str, Any]:
    """Return the row of results.csv of a run.

    `auc_top10` is the area under the mean of the 10 best scores over oracle calls, divided by the budget; `top10` is
    that mean at the end.
    """
    scores = [call["score"] for call in calls]
    return {
        "task": run.task,
        "optimizer": run.optimizer,
        "seed": run.seed,
        "auc_top10": auc_top_k(scores, 10, budget=budget),
        **{f"top{k}": _mean_of_best(scores, k) for k in (1, 10, 100)},
        "calls": len(calls),
        "seconds": calls[-1]["seconds"] if calls else 0.0,
    }


def summarize(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean over seeds of each number, and the half-width of its 95 % interval, by task and optimizer.

    The last row of each optimizer, with the task "sum", has the sums over tasks.
    """
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    seeds = list(dict.fromkeys(row["seed"] for row in rows))
    sums = [
        {"task": "sum", "optimizer": optimizer, **{name: sum(row[name] for row in own) for name in NUMBERS}}
        for optimizer in dict.fromkeys(row["optimizer"] for row in rows)
        for seed in seeds
        if len(own := [row for row in rows if row["optimizer"] == optimizer and row["seed"] == seed]) == len(tasks)
    ]
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in [*rows, *sums]:
        groups.setdefault((row["task"], row["optimizer"]), []).append(row)
    summary = []
    for (task, optimizer), own in groups.items():
        one: dict[str, Any] = {"task": task, "optimizer": optimizer, "seeds": len(own)}
        for name in NUMBERS:
            interval = confidence_interval([row[name] for row in own])
            one |= {name: interval.mean, f"{name}_ci95": interval.half_width}
        summary.append(one)
    return summary


def _results(
    runs: Sequence[Run],
    checkpoint: Checkpoint,
    budget: int,
    start: Sequence[str],
    directory: Path,
    console: Console,
) -> Iterator[dict[str, Any]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        every = bar.add_task("Runs", total=len(runs))
        for run in runs:
            known = is_finished(run.path(directory))
            name = f"{run.task}, {run.optimizer}, seed {run.seed}"
            task = bar.add_task(name, total=budget, visible=not known)

            def advance(count: int, task: TaskID = task) -> None:
                bar.update(task, completed=count)

            calls = optimize(run, checkpoint, budget, directory, advance, start)
            bar.remove_task(task)
            bar.advance(every)
            row = result(run, calls, budget)
            short = "" if len(calls) == budget else f" No new molecules in {IDLE_ROUNDS} rounds: it ended early."
            if not known:
                console.print(
                    f"{name}: AUC top-10 {row['auc_top10']:.3f}, top-10 {row['top10']:.3f}, {len(calls):,} calls, "
                    f"{row['seconds']:.0f} s.{short}"
                )
            yield row


def _report(rows: Sequence[Mapping[str, Any]], budget: int) -> Iterator[Table | str]:
    """Yield the table of results, and the published sums if all tasks ran at their budget."""
    summary = summarize(rows)
    seeds = max(row["seeds"] for row in summary)
    over = f"mean ± 95 % interval over {seeds} seeds" if seeds > 1 else "one seed, no intervals"
    table = Table(title=f"PMO at {budget:,} oracle calls; {over}", title_justify="left")
    columns: dict[str, tuple[str, int]] = {
        "auc_top10": ("AUC top-10", 3),
        "top10": ("top-10 mean", 3),
        "top1": ("best", 3),
        "calls": ("calls", 0),
        "seconds": ("seconds", 0),
    }
    for heading in ("task", "optimizer"):
        table.add_column(heading, no_wrap=True)
    for heading, _ in columns.values():
        table.add_column(heading, justify="right")
    tasks, previous = len({row["task"] for row in rows}), ""
    for row in summary:
        if row["task"] == "sum" and tasks == 1:
            continue
        if previous and row["task"] != previous:
            table.add_section()
        name = f"sum of {tasks} tasks" if row["task"] == "sum" else row["task"]
        cells = (with_interval(row, column, decimals) for column, (_, decimals) in columns.items())
        table.add_row("" if row["task"] == previous else name, row["optimizer"], *cells)
        previous = row["task"]
    yield table
    if budget == PUBLISHED_BUDGET and {row["task"] for row in rows} == set(PMO_TASKS):
        yield (
            f"Published sums of AUC top-10 over 23 tasks, which are not the same set: the {len(PMO_TASKS)} above are "
            "those without drd2, gsk3b and jnk3."
        )
        yield "\n".join(f"  {name}: {value}" for name, value in PUBLISHED.items())


def _write(directory: Path, facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    write(directory / "results.csv", format_rows(".csv", rows, header=True))
    content = {**facts, "results": rows, "summary": summarize(rows)}
    write(directory / "results.json", json.dumps(content, indent=2, allow_nan=False) + "\n")


def _read(path: Path) -> list[dict[str, Any]]:
    types = {"call": int, "round": int, "smiles": str, "score": float, "seconds": float}
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: types[name](value) for name, value in row.items()} for row in csv.DictReader(file)]


def _mean_of_best(scores: Sequence[float], k: int) -> float:
    best = heapq.nlargest(k, scores)
    return math.fsum(best) / len(best) if best else 0.0


def expect_own_folder(directory: Path) -> None:
    """Make the folder of a benchmark.

    Raises:
        FileExistsError: If it has other files.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "settings.json").is_file() and any(one.name != ".lock" for one in directory.iterdir()):
        raise FileExistsError(
            f"Expected `output` to be a new folder, or that of a benchmark, but {directory} is not empty."
        )
