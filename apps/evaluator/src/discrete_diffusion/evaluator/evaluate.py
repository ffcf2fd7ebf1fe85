"""Measure a checkpoint from a configuration."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from discrete_diffusion.datasets import SequenceData
from discrete_diffusion.evaluator.conditions import Condition, sweep, wrappers
from discrete_diffusion.evaluator.generation import Generation, read_prompt, with_steps
from discrete_diffusion.evaluator.likelihood import measure_likelihood
from discrete_diffusion.evaluator.metrics import Run, build_metrics
from discrete_diffusion.evaluator.pictures import choose, draw_trajectory
from discrete_diffusion.evaluator.provenance import provenance
from discrete_diffusion.evaluator.record import Record, make_directory
from discrete_diffusion.evaluator.report import closing, likelihood_lines, results_table
from discrete_diffusion.evaluator.subject import describe, load_data, locate
from discrete_diffusion.guidance import State
from discrete_diffusion.trainer.checkpoint import Checkpoint, load


def evaluate(config: DictConfig) -> Path:
    """Measure the likelihood, draw samples, and write what was found; returns the folder."""
    console = Console(width=None if sys.stdout.isatty() else 132, highlight=False, soft_wrap=True)
    for name in ("datasets", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    check(config)
    folder = locate(config.checkpoint)
    checkpoint = load(folder, trust_remote_code=config.trust_remote_code)
    device = place(config.device)
    checkpoint.network.to(device)
    console.print(f"Checkpoint {folder}: {describe(checkpoint)}, on {device}.")

    points = sweep(config, checkpoint.label)
    if config.pictures.gamma is not None and config.pictures.gamma not in [point.gamma for point in points]:
        raise ValueError(f"Expected `pictures.gamma` to be one of `gammas`, got {config.pictures.gamma}.")
    put_around = {point: wrappers(config, point, checkpoint.label) for point in points}
    for wrapper in {one for both in put_around.values() for one in (*both[0], *both[1])}:
        wrapper(checkpoint.denoiser())  # so that what it refuses is refused now
    generation = Generation(
        checkpoint,
        with_steps(checkpoint.sampler(), config.sampling.steps),
        samples=config.samples,
        batch_size=config.batch_size,
        device=device,
        clamp=read_prompt(config.prompt, checkpoint),
        keep_states_of=config.pictures.trajectories if config.pictures.draw else 0,
    )
    data = load_data(checkpoint, config.data.path)
    console.print("Reading the training data to compare with.")
    metrics = build_metrics(config.metrics, checkpoint.config["data"]["kind"], data)
    labels = None if data.label is None else torch.as_tensor(data.train.with_format(None)["label"][:])
    directory = make_directory(config.output, folder)
    record = Record(directory, provenance(config, folder, device), metrics)
    states: dict[Condition, list[State]] = {}
    try:
        if config.likelihood:
            record.note(likelihood=likelihood(config, checkpoint, data, device, console))
        with progress(console) as bar:
            task = bar.add_task("", total=config.samples * len(config.seeds) * len(points))
            for seed in config.seeds:
                for point in points:
                    bar.update(task, description=f"Sampling {point.name()}, seed {seed}")
                    y = point.labels(config.samples, labels, seed)
                    generated = generation(seed, y, *put_around[point], advance=lambda rows: bar.advance(task, rows))
                    cost = {"network_evaluations": generated.evaluations, "seconds": round(generated.seconds, 3)}
                    record.add(Run(point, seed, metrics(generated.strings)), cost)
                    states.setdefault(point, generated.states)
        if config.pictures.draw:
            console.print("Drawing.")
            chosen = choose(record.runs, metrics, config.pictures.gamma)
            metrics.draw(record.runs, directory, chosen=chosen, shown=config.pictures.molecules)
            if config.pictures.trajectories:
                toward = chosen.condition if not chosen.gamma else f"γ = {chosen.gamma:g}, {chosen.condition}"
                title = f"The first samples of seed {config.seeds[0]} ({toward})"
                draw_trajectory(
                    states[chosen], directory / "trajectory.gif", checkpoint.tokenizer, metrics.illustrate, title
                )
    except KeyboardInterrupt:
        done = f"{len(record.rows)} of {len(points) * len(config.seeds)} runs are"
        console.print(f"\nStopped. {done} in {directory / 'results.csv'}, summarized beside it.")
        sys.exit(130)
    console.print(results_table(record.summary(), metrics))
    console.print(closing(directory))
    return directory


def check(config: DictConfig) -> None:
    """Refuse what no model could do, before anything is loaded."""
    for name in ("samples", "batch_size", "repeats"):
        if not isinstance(config[name], int) or config[name] < 1:
            raise ValueError(f"Expected `{name}` >= 1, got {config[name]}.")
    seeds = list(config.seeds)
    if not seeds or len(set(seeds)) < len(seeds) or not all(isinstance(seed, int) and seed >= 0 for seed in seeds):
        raise ValueError(f"Expected distinct integers >= 0 in `seeds`, got {seeds}.")
    if config.validation_rows is not None and config.validation_rows < 1:
        raise ValueError(f"Expected `validation_rows` >= 1, got {config.validation_rows}.")


def likelihood(
    config: DictConfig, checkpoint: Checkpoint, data: SequenceData, device: torch.device, console: Console
) -> Mapping[str, Any]:
    """Measure and print it."""
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
            advance=lambda count: bar.advance(task, count),
        )
    console.print(likelihood_lines(measured, data.label is not None))
    return {**measured.row(), "repeats": config.repeats, "tokens_counted": "all but padding"}


def progress(console: Console) -> Progress:
    """A bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)


def place(name: str | None) -> torch.device:
    """A device that works.

    Raises:
        ValueError: if this one does not.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"The device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
