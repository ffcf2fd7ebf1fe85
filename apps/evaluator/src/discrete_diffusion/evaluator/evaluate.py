"""Evaluation of a checkpoint."""

import logging
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from discrete_diffusion.checkpoints import fetch, load
from discrete_diffusion.commandline.full_disk import advise_on_full_disk
from discrete_diffusion.commandline.stopping import exit_code, postpone_stops
from discrete_diffusion.datasets import SequenceData
from discrete_diffusion.evaluator.carried_data import CarriedData, example_string, training_data, with_rows
from discrete_diffusion.evaluator.comparison import diversity, samplers_table
from discrete_diffusion.evaluator.device import choose_device
from discrete_diffusion.evaluator.domains.domain import Number, Run, build_domain
from discrete_diffusion.evaluator.generation import ParticleWeights
from discrete_diffusion.evaluator.html_report import write_report
from discrete_diffusion.evaluator.journal import Done, Journal, settings_of
from discrete_diffusion.evaluator.judge import Judge, build_judge, judged
from discrete_diffusion.evaluator.likelihood import check_orders
from discrete_diffusion.evaluator.likelihood_entry import likelihood_entry
from discrete_diffusion.evaluator.pictures import choose
from discrete_diffusion.evaluator.point import EACH, Point, target_class
from discrete_diffusion.evaluator.progress import progress
from discrete_diffusion.evaluator.properties import build_properties, with_properties
from discrete_diffusion.evaluator.provenance import provenance, resume_command
from discrete_diffusion.evaluator.ranks import ALONE, Ranks
from discrete_diffusion.evaluator.record import Record, make_directory
from discrete_diffusion.evaluator.report import closing, results_table
from discrete_diffusion.evaluator.requested import request_error, requested_number, requesting, steers_property
from discrete_diffusion.evaluator.result_pictures import draw_results
from discrete_diffusion.evaluator.rewards import build_reward
from discrete_diffusion.evaluator.sweep import Sweep, build_sweep
from discrete_diffusion.guidance import State


def evaluate(config: DictConfig, ranks: Ranks = ALONE) -> Path | None:
    """Measure the likelihood, draw samples, and write the results; return their folder.

    Of several processes, all compute, and the first one measures and writes; the others return None.

    Args:
        config: The configuration.
        ranks: The processes that share the work.

    Raises:
        ValueError: If a setting is out of range or does not fit the model.
        FileNotFoundError: If a checkpoint, a classifier or the data are missing.
    """
    console = Console(
        width=None if sys.stdout.isatty() else 132, highlight=False, soft_wrap=True, quiet=not ranks.first
    )
    for name in ("datasets", "faiss", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    check(config)
    folder = fetch(config.checkpoint)
    checkpoint = requesting(load(folder, trust_remote_code=config.trust_remote_code), config)
    device = choose_device(config.device, ranks)
    checkpoint.network.to(device).requires_grad_(False)
    shared = f", {ranks.count} processes" if ranks.count > 1 else ""
    console.print(f"Checkpoint {folder}: {checkpoint.describe()}, on {device}{shared}.")

    check_orders(config.likelihood_orders, checkpoint)
    sweep = build_sweep(config, checkpoint, folder, device, console.print, ranks)
    with ranks.first_before_others():
        data = training_data(checkpoint, folder, config.data.path)
    if isinstance(data, CarriedData):
        for option in ("data_labels", "likelihood_orders"):
            if config[option]:
                with_rows(data, option)
        console.print("The model carries statistics of its training data; a likelihood needs the data: `data.path=`.")
    else:
        for line in data.report.describe().splitlines():
            console.print(f"{line}.", markup=False)
        console.print("Loading the training data for comparison ...")
    with ranks.first_before_others():
        domain = build_domain(config.metrics, checkpoint.config["data"]["kind"], data)
    properties: dict[str, Callable[[str], float | None]] = dict(
        build_properties(config.properties, domain, example_string(data))
    )
    if sweep.searches:
        sweep = replace(sweep, reward=build_reward(config.reward, domain, checkpoint.tokenizer, example_string(data)))
    points = sweep.points()
    if not ranks.first:
        assist(config, sweep, data, device, ranks)
        return None
    batches = max(math.ceil(point.samples / config.batch_size) for point in points)
    if batches < ranks.count:
        least = math.ceil(max(point.samples for point in points) / ranks.count)
        console.print(
            f"{ranks.count} processes share whole batches, of which there {'is' if batches == 1 else 'are'} {batches}: "
            f"batch_size={least} or less uses all of them."
        )
    judge = build_judge(config, checkpoint, folder, device)
    if config.pictures.gamma is not None and config.pictures.gamma not in [point.gamma for point in points]:
        raise ValueError(f"Expected `pictures.gamma` to be one of `gammas`, got {config.pictures.gamma}.")
    directory = make_directory(config.output, folder, config.checkpoint)
    made = provenance(config, folder, device)
    with Journal(directory, settings_of(config, sweep, domain, judge, made)) as journal:
        record = Record(directory, made, domain)
        record.recall()
        if sweep.samplers and not isinstance(data, CarriedData):
            rows = data.examples(config.samples)["input_ids"][:]
            record.note(training_diversity=diversity(rows, checkpoint.tokenizer))
        if (reward := sweep.reward) is not None:
            record.note(reward={"name": reward.name, "scale": reward.scale, "invalid": reward.invalid})
            if config.reward.function._target_ is not None:
                properties["reward"] = reward.unscaled
        states: dict[Point, list[State]] = {}
        weights: dict[Point, list[ParticleWeights]] = {}

        def report(draws: bool, gamma: float | None) -> None:
            named = OmegaConf.select(config, "metrics.property._target_") is not None
            by_property = sweep.searches or named or steers_property(checkpoint, domain.property_name)
            chosen = choose(record.runs, domain, gamma, by_property=by_property)
            if draws:
                console.print("Drawing plots ...")
                draw_results(config, sweep, record, domain, checkpoint, states, weights, chosen)
            write_report(
                directory,
                record=record,
                domain=domain,
                checkpoint=checkpoint,
                states=states,
                chosen=chosen,
                by_property=by_property,
                draw=draws,
            )

        resumption = resume_command(folder, directory)
        try:
            with advise_on_full_disk(f"make room, and resume with `{resumption}`."):
                known = "likelihood" in record.facts
                ranks.broadcast(known)
                if known:
                    console.print("The likelihood was measured before, see summary.json.")
                elif config.likelihood and not isinstance(data, CarriedData):
                    record.note(likelihood=likelihood_entry(config, checkpoint, data, device, console, ranks))
                sample(config, sweep, data, judge, properties, record, journal, states, weights, console)
                report(config.pictures.draw, config.pictures.gamma)
            journal.close()
        except KeyboardInterrupt as stop:
            done = f"{len(record.rows)} of {len(points) * len(config.seeds)} runs saved"
            console.print(f"\nStopped. {done} to {directory / 'results.csv'}; summary.csv is up to date.")
            console.print(f"Resume with:\n  {resumption}", markup=False)
            if any(not run.condition.data_labels for run in record.runs):
                report(False, None)
            sys.exit(exit_code(stop))
    if sweep.samplers:
        console.print(samplers_table(record.summary(), domain, record.facts.get("training_diversity", {})))
    else:
        console.print(results_table(record.summary(), domain, properties))
    console.print(closing(directory, domain))
    return directory


def assist(
    config: DictConfig, sweep: Sweep, data: SequenceData | CarriedData, device: torch.device, ranks: Ranks
) -> None:
    """Compute this process's share of everything that the first process measures."""
    console = Console(quiet=True)
    known = ranks.broadcast(False)
    if config.likelihood and not known and not isinstance(data, CarriedData):
        likelihood_entry(config, sweep.generation.checkpoint, data, device, console, ranks)
    classes = None if isinstance(data, CarriedData) else data.labels
    runs = runs_of(config, sweep)
    for point, seed in runs[ranks.broadcast(0) :]:
        sweep.generate(point, seed, point.labels(classes, seed), lambda rows: None)


def runs_of(config: DictConfig, sweep: Sweep) -> list[tuple[Point, int]]:
    """Return every point with every seed, in the order in which they are sampled."""
    return [(point, seed) for seed in config.seeds for point in sweep.points()]


def sample(
    config: DictConfig,
    sweep: Sweep,
    data: SequenceData | CarriedData,
    judge: Judge | None,
    properties: Mapping[str, Callable[[str], float | None]],
    record: Record,
    journal: Journal,
    states: dict[Point, list[State]],
    weights: dict[Point, list[ParticleWeights]],
    console: Console,
) -> None:
    """Sample every point with every seed, except for runs that are done; keep what pictures show of the first seed."""
    label, classes = data.label, None if isinstance(data, CarriedData) else data.labels
    target = None if label is None or config.label == EACH else target_class(config.label, label)
    runs = runs_of(config, sweep)

    def show(done: Done) -> None:
        if done.run.seed == config.seeds[0]:
            states[done.run.condition] = list(done.states)
            if done.weights:
                weights[done.run.condition] = list(done.weights)

    before = list(journal.done(runs))
    sweep.generation.ranks.broadcast(len(before))
    for done in before:
        show(done)
    if before:
        console.print(f"Going on with {record.directory}: {len(before)} of {len(runs)} runs are done.", markup=False)
        with postpone_stops():
            record.extend([(done.run, done.numbers) for done in before])
    with progress(console) as bar:
        task = bar.add_task(
            "Sampling",
            total=sum(point.samples for point, _ in runs),
            completed=sum(done.run.condition.samples for done in before),
        )
        for point, seed in runs[len(before) :]:
            bar.update(task, description=f"Sampling {point.file_name()}, seed {seed}")
            y = point.labels(classes, seed)
            generated = sweep.generate(point, seed, y, lambda rows: bar.advance(task, rows))
            targets = y if point.data_labels or point.each else None
            if targets is None and target is not None:
                targets = torch.full((point.samples,), target)
            verdict: dict[str, Number] = {}
            if judge is not None:
                known = () if label is None else label.class_names
                verdict = judged(judge, known, generated.strings, generated.ids, targets)
            outcome = record.domain(generated.strings, None if targets is None else targets.tolist())
            outcome = with_properties(outcome, properties, record.domain)
            requested = requested_number(sweep.generation.checkpoint, record.domain.property_name)
            numbers = verdict | request_error(requested, outcome.values) | generated.numbers()
            if point.sampler:
                numbers["evaluations_per_sample"] = generated.cost["network_evaluations"] / point.samples
                numbers |= diversity(generated.ids, sweep.generation.checkpoint.tokenizer)
            first = seed == config.seeds[0]
            done = Done(
                Run(point, seed, outcome),
                numbers,
                generated.states if first else (),
                generated.weights if first else (),
            )
            with postpone_stops():  # the report of a stopped evaluation needs all three
                journal.add(done)
                record.add(done.run, done.numbers)
                show(done)


def check(config: DictConfig) -> None:
    """Check the settings that do not depend on the model, before anything is loaded.

    Raises:
        ValueError: If one is out of range.
    """
    for name in ("samples", "batch_size", "repeats"):
        if not isinstance(config[name], int) or config[name] < 1:
            raise ValueError(f"Expected `{name}` >= 1, got {config[name]}.")
    if config.gamma is not None:
        raise ValueError(f"Expected no `gamma`, which is filled in for each of `gammas`: set gammas=[{config.gamma}].")
    if config.null_label is not None:
        raise ValueError(f"Expected no `null_label`, which is the checkpoint's, got {config.null_label}.")
    seeds = list(config.seeds)
    if not seeds or len(set(seeds)) < len(seeds) or not all(isinstance(seed, int) and seed >= 0 for seed in seeds):
        raise ValueError(f"Expected distinct integers >= 0 in `seeds`, got {seeds}.")
    if config.likelihood_orders and not config.likelihood:
        raise ValueError("Expected `likelihood=true` with `likelihood_orders`: they are rows of its table.")
    if config.validation_rows is not None and config.validation_rows < 1:
        raise ValueError(f"Expected `validation_rows` >= 1, got {config.validation_rows}.")
