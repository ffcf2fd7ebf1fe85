"""Distribution metrics of MOSES for a model, beside those published for other models."""

import csv
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from discrete_diffusion.checkpoints import Checkpoint, fetch, load
from discrete_diffusion.commandline.full_disk import advise_on_full_disk
from discrete_diffusion.commandline.lock import FolderLock
from discrete_diffusion.datasets import moses, read_table
from discrete_diffusion.eval import MosesReference, confidence_interval, moses_metrics
from discrete_diffusion.evaluator.benchmark import expect_own_folder
from discrete_diffusion.evaluator.device import choose_device
from discrete_diffusion.evaluator.domains.domain import domain_class
from discrete_diffusion.evaluator.domains.molecules import Molecules
from discrete_diffusion.evaluator.provenance import provenance
from discrete_diffusion.evaluator.record import evaluations_of, write
from discrete_diffusion.evaluator.report import with_interval
from discrete_diffusion.evaluator.report_numbers import number
from discrete_diffusion.evaluator.same_settings import keep_settings
from discrete_diffusion.evaluator.sequence_file import SequenceFile, is_finished

MCF = "moses/metrics/mcf.csv"
"""File of the medicinal chemistry filters in the wheel of MOSES."""
PUBLISHED_SAMPLES = 30_000
NAMES = (
    *("valid", "unique@1000", "unique@10000", "FCD/Test", "FCD/TestSF", "SNN/Test", "SNN/TestSF", "Frag/Test"),
    *("Frag/TestSF", "Scaf/Test", "Scaf/TestSF", "IntDiv", "IntDiv2", "Filters", "Novelty"),
)
_PUBLISHED = """\
Train 1 1 1 0.008 0.4755 0.6419 0.5859 1 0.9986 0.9907 0 0.8567 0.8508 1 1
HMM 0.076 0.623 0.5671 24.4661 25.4312 0.3876 0.3795 0.5754 0.5681 0.2065 0.049 0.8466 0.8104 0.9024 0.9994
NGram 0.2376 0.974 0.9217 5.5069 6.2306 0.5209 0.4997 0.9846 0.9815 0.5302 0.0977 0.8738 0.8644 0.9582 0.9694
Combinatorial 1 0.9983 0.9909 4.2375 4.5113 0.4514 0.4388 0.9912 0.9904 0.4445 0.0865 0.8732 0.8666 0.9557 0.9878
CharRNN 0.9748 1 0.9994 0.0732 0.5204 0.6015 0.5649 0.9998 0.9983 0.9242 0.1101 0.8562 0.8503 0.9943 0.8419
AAE 0.9368 1 0.9973 0.5555 1.0572 0.6081 0.5677 0.991 0.9905 0.9022 0.0789 0.8557 0.8499 0.996 0.7931
VAE 0.9767 1 0.9984 0.099 0.567 0.6257 0.5783 0.9994 0.9984 0.9386 0.0588 0.8558 0.8498 0.997 0.6949
JTN-VAE 1 1 0.9996 0.3954 0.9382 0.5477 0.5194 0.9965 0.9947 0.8964 0.1009 0.8551 0.8493 0.976 0.9143
LatentGAN 0.8966 1 0.9968 0.2968 0.8281 0.5371 0.5132 0.9986 0.9972 0.8867 0.1072 0.8565 0.8505 0.9735 0.9498
"""
PUBLISHED: Mapping[str, Mapping[str, float]] = {
    model: dict(zip(NAMES, map(float, numbers), strict=True))
    for model, *numbers in map(str.split, _PUBLISHED.splitlines())
}
"""Metrics of each model: means over three training runs, 30,000 samples, all test molecules (arXiv 1811.12823).

The numbers are those of the README of github.com/molecularsets/moses; `Train` is the training set itself.
"""


def moses_benchmark(config: DictConfig) -> Path:
    """Sample from a model, print its metrics beside the published ones, and return the folder that has them.

    The same command resumes a benchmark that was stopped: samples are kept by batches, and metrics by seeds.

    Args:
        config: The configuration.

    Raises:
        ValueError: If the model generates no molecules, or there are no data to compare with.
        FileExistsError: If the folder belongs to other settings or something else.
        KeyboardInterrupt: If the user stops the run.
    """
    console = Console(width=None if sys.stdout.isatty() else 132, highlight=False, soft_wrap=True)
    if config.fcd and not _has_fcd():
        raise ValueError("Expected the package fcd_torch for `fcd=true`: install `discrete-diffusion-eval[fcd]`.")
    folder = fetch(config.checkpoint)
    checkpoint = load(folder, trust_remote_code=config.trust_remote_code)
    domain = _domain(checkpoint)
    path = data_path(config.data.path, checkpoint)
    mcf = read_filters(config.mcf, path)
    fcd = _has_fcd() if config.fcd is None else config.fcd
    device = choose_device(config.device)
    checkpoint.network.to(device).requires_grad_(False)
    console.print(f"Checkpoint {folder}: {checkpoint.describe()}, on {device}.")
    if not fcd and config.fcd is None:
        console.print("Without FCD: install `discrete-diffusion-eval[fcd]`.", markup=False)
    if mcf is None:
        console.print(f"Filters are PAINS alone: pass `mcf=FILE`, the file {Path(MCF).name} of MOSES, for all of them.")
    directory = Path(config.output or evaluations_of(folder, config.checkpoint) / f"moses-{config.samples}")
    facts = provenance(config, folder, device)
    settings = {
        "samples": config.samples,
        "test_molecules": config.test_molecules,
        "fcd": fcd,
        "filters": mcf,
        "data": path.name,
        "checkpoint": {name: facts[name] for name in ("weights_sha256", "config_sha256")},
        "versions": facts["versions"],
    }
    seeds = list(dict.fromkeys(config.seeds))
    known = _known(directory)
    missing = [seed for seed in seeds if seed not in known]
    # Before the folder is made and the samples are drawn: a file that is not MOSES is refused at once.
    parts = read_parts(path, console) if missing else {}
    expect_own_folder(directory)
    with (
        FolderLock(directory, work=f"writing to {directory}", setting="output"),
        advise_on_full_disk(f"make room, and the same command goes on with {directory}."),
    ):
        keep_settings(directory, directory / "settings.json", settings, noun="a benchmark")
        try:
            samples = {
                seed: draw(checkpoint, config.samples, seed, config.batch_size, directory, console) for seed in missing
            }
            if missing:
                console.print("Computing the metrics ...")
                references = compute_references(parts, config.test_molecules)
            for seed, strings in samples.items():
                forms = [domain.valid_form(string) or "" for string in strings]
                known[seed] = moses_metrics(forms, **references, mcf=mcf, fcd=fcd)
                rows = [{"seed": one, **numbers} for one, numbers in sorted(known.items())]
                content = {**facts, "results": rows, "summary": summarize(rows), "published": PUBLISHED}
                write(directory / "results.json", json.dumps(content, indent=2, allow_nan=False) + "\n")
        except KeyboardInterrupt:
            console.print(f"\nStopped. The same command goes on with {directory}.", markup=False)
            raise
    rows = [{"seed": seed, **known[seed]} for seed in seeds]
    for part in report(rows, config.samples, config.test_molecules):
        console.print(part)
    console.print(f"Results: {directory}", markup=False)
    return directory


def data_path(path: str | None, checkpoint: Checkpoint) -> Path:
    """Return the place of MOSES: `path`, or that of the data of the model.

    Raises:
        ValueError: If there is none.
    """
    rows = checkpoint.config["data"].get("rows") or {}
    if path is None and str(rows.get("_target_")).rpartition(".")[2] == moses.__name__:
        path = rows["path"]
    if path is None:
        raise ValueError(
            "Expected `data.path`, the file dataset_v1.csv of MOSES, a folder of its parts, or the wheel molsets-0.3.1 "
            "(`pip download --no-deps molsets==0.3.1`): this model was trained on other data."
        )
    return Path(path).expanduser()


def read_filters(file: str | None, data: Path) -> list[str] | None:
    """Return the patterns of the medicinal chemistry filters, by default those of the wheel of MOSES.

    Args:
        file: File with a column `smarts`.
        data: Place of MOSES.
    """
    if file is None and data.suffix != ".whl":
        return None
    return list(read_table(data / MCF if file is None else Path(file), column="smarts")["smarts"])


def read_parts(path: Path, console: Console) -> dict[str, list[str]]:
    """Return the canonical SMILES of each part of MOSES."""
    console.print(f"Reading {path} ...", markup=False)
    parts = {}
    for name, rows in moses(path).items():
        table = rows.with_format(None)
        reasons = table["drop_reason"][:] if "drop_reason" in table.column_names else [None] * len(table)
        parts[name] = [one for one, why in zip(table["canonical_smiles"][:], reasons, strict=True) if why is None]
    return parts


def compute_references(parts: Mapping[str, Sequence[str]], count: int | None) -> dict[str, Any]:
    """Return the arguments of `moses_metrics` that describe the data: the training molecules and the test sets.

    Args:
        parts: Canonical SMILES of each part.
        count: Largest number of molecules of each test set, evenly spread.
    """
    tests = {
        name: MosesReference.of(strings if count is None else strings[:: -(-len(strings) // count)])
        for name, strings in parts.items()
        if name != "train"
    }
    known = {"test": tests["validation"], "test_scaffolds": tests.get("test_scaffolds")}
    return {**known, "training": frozenset(parts["train"])}


def draw(
    checkpoint: Checkpoint, count: int, seed: int, batch_size: int, directory: Path, console: Console
) -> list[str]:
    """Draw samples into samples/seed-SEED.csv, after those that a stopped run has written, and return all of them."""
    path = directory / "samples" / f"seed-{seed}.csv"
    if not is_finished(path):
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with (
            SequenceFile(str(path), {}) as file,
            Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar,
        ):
            first = file.state.get("rows", 0)
            task = bar.add_task(f"Samples, seed {seed}", total=count, completed=first)
            started = time.perf_counter()
            for start in range(first, count, batch_size):
                rows = min(batch_size, count - start)
                strings = checkpoint.decode(checkpoint.sample(rows, seed=seed, first=start))
                file.write([{"index": start + i, "sequence": one} for i, one in enumerate(strings)], {})
                bar.advance(task, rows)
            file.finish()
        console.print(f"Seed {seed}: {count - first:,} samples in {time.perf_counter() - started:.0f} s.")
    with path.open(encoding="utf-8", newline="") as rows_of_file:
        return [row["sequence"] for row in csv.DictReader(rows_of_file)]


def summarize(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean over seeds of each metric, and the half-width of its 95 % interval."""
    summary: dict[str, Any] = {"seeds": len(rows)}
    for name in rows[0]:
        if name != "seed":
            interval = confidence_interval([row[name] for row in rows])
            summary |= {name: interval.mean, f"{name}_ci95": interval.half_width}
    return summary


def report(rows: Sequence[Mapping[str, Any]], samples: int, test_molecules: int | None) -> Iterator[Table | str]:
    """Yield the table of metrics beside the published ones, and in what they differ."""
    summary, seeds = summarize(rows), len(rows)
    over = f"mean ± 95 % interval over {seeds} seeds" if seeds > 1 else "one seed, no intervals"
    table = Table(title=f"MOSES, {samples:,} samples; {over}", title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("metric", no_wrap=True)
    for heading in ("this model", *PUBLISHED):
        table.add_column(heading, justify="right")
    for name in (one for one in rows[0] if one != "seed"):
        others = (number(numbers.get(name), decimals=3) for numbers in PUBLISHED.values())
        table.add_row(name, with_interval(summary, name, 3), *others)
    yield table
    yield "Published, the columns on the right: means over three training runs, arXiv 1811.12823."
    differences = [f"{samples:,} samples instead of {PUBLISHED_SAMPLES:,}"] * (samples != PUBLISHED_SAMPLES)
    if test_molecules is not None:
        differences.append(f"at most {test_molecules:,} molecules of each test set instead of all")
    if differences:
        yield f"Not comparable with them: {' and '.join(differences)}. FCD and SNN depend on these numbers most."


def _domain(checkpoint: Checkpoint) -> type[Molecules]:
    kind = checkpoint.config["data"].get("kind", "strings")
    domain = domain_class(kind)
    if not issubclass(domain, Molecules):
        raise ValueError(f"Expected a model of molecules, got one of {kind}.")
    return domain


def _known(directory: Path) -> dict[int, dict[str, Any]]:
    """Return the metrics of the seeds that are done; none if the folder is not that of a benchmark."""
    path = directory / "results.json"
    done = path.is_file() and (directory / "settings.json").is_file()
    rows = json.loads(path.read_text(encoding="utf-8"))["results"] if done else []
    return {row["seed"]: {name: value for name, value in row.items() if name != "seed"} for row in rows}


def _has_fcd() -> bool:
    return find_spec("fcd_torch") is not None
