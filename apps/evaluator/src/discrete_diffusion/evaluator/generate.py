"""Generation of sequences to a file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from discrete_diffusion.checkpoints import Checkpoint, fetch, load
from discrete_diffusion.checkpoints.infill import Alternatives, Template
from discrete_diffusion.commandline.full_disk import advise_on_full_disk
from discrete_diffusion.datasets import Fragments, decode
from discrete_diffusion.evaluator.constraints import fragment_templates, read_fragments, read_infill
from discrete_diffusion.evaluator.device import choose_device
from discrete_diffusion.evaluator.domains.domain import domain_class, name_of
from discrete_diffusion.evaluator.generation import Generation
from discrete_diffusion.evaluator.guidance import Guidance
from discrete_diffusion.evaluator.ranks import ALONE, Ranks
from discrete_diffusion.evaluator.requested import requesting
from discrete_diffusion.evaluator.rewards import Reward
from discrete_diffusion.evaluator.sequence_file import STDOUT, SequenceFile, format_of
from discrete_diffusion.evaluator.sweep import Sweep, build_sweep
from discrete_diffusion.guidance import Denoiser, MaskingNoise, SampleStreams, last

WITHOUT_EFFECT = ("output", "device", "devices", "batch_size", "count", "max_draws", "hydra")
"""Settings that the sequences do not depend on."""

DISCARDED = ("invalid", "without the fragments", "repeated")
"""Names of the filters, in their order."""


def generate(config: DictConfig, ranks: Ranks = ALONE) -> dict[str, int]:
    """Write sequences to a file; return the numbers of those drawn, written, and discarded by each filter.

    A sequence depends on the settings, the seed and its index alone. The same command resumes a run that was
    stopped. Memory use is constant, except for a hash of each sequence with `unique`. Of several processes, all draw,
    and the first one filters and writes; the others return no numbers.

    Args:
        config: The configuration.
        ranks: The processes that share the batches.

    Raises:
        ValueError: If a setting does not fit the model or is out of range.
        FileExistsError: If the file exists and is not that of a stopped run of the same settings.
        KeyboardInterrupt: If the user stops the run; the file is then complete up to a batch.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=not ranks.first)
    config = _with_text(config)
    check(config)
    folder = fetch(config.checkpoint)
    checkpoint = requesting(load(folder, trust_remote_code=config.trust_remote_code), config)
    device = choose_device(config.device, ranks)
    checkpoint.network.to(device).requires_grad_(False)
    console.print(f"Checkpoint {folder}: {checkpoint.describe()}, on {device}.")
    kind = checkpoint.config["data"].get("kind", "strings")
    domain = domain_class(kind)
    if domain.layout.pictures_alone:
        raise ValueError("Expected a model of sequences, got one of images: `uv run evaluator` draws those.")
    canonical = domain.valid_form if domain.checks_validity else None
    if config.valid and canonical is None:
        raise ValueError(f"Expected no `valid`: {kind} have no rules of validity.")

    sweep = build_sweep(_as_sweep(config), checkpoint, folder, device, console.print, ranks)
    fragments = read_fragments(config, checkpoint)
    if sweep.searches:
        form = canonical if fragments is None else fragments.molecule
        sweep = replace(sweep, reward=_reward(config, checkpoint, form))
    templates: dict[str, Template | Alternatives | None] = {**read_infill(config, checkpoint)}
    if fragments is not None:
        templates = {"": fragment_templates(fragments, checkpoint)}
    templates = templates or {"": None}
    if any(one is not None and not _is_exact(one, checkpoint) for one in templates.values()):
        console.print("Infilling is a heuristic for this model: it is exact for masked diffusion alone.")
    if not ranks.first:
        _assist(config, sweep, templates)
        return {}
    settings: Any = OmegaConf.to_container(config, resolve=False)
    kept = {name: value for name, value in settings.items() if name not in WITHOUT_EFFECT}
    with SequenceFile(config.output, {"checkpoint_folder": str(folder.resolve()), **kept}) as file:
        if file.state.get("rows"):
            console.print(f"Going on with {config.output}, which has {file.state['rows']:,} sequences.")
        try:
            with advise_on_full_disk(f"make room, and the same command goes on with {config.output}."):
                counts = _write(config, sweep, templates, fragments, file, canonical, console)
        except KeyboardInterrupt:
            if config.output != STDOUT:
                console.print(f"\nStopped after {file.state['rows']:,} sequences.")
                console.print(f"Resume with the same command: it goes on with {config.output}.", markup=False)
            raise
        file.finish()
    console.print(_summary(counts, config.output))
    return counts


def check(config: DictConfig) -> None:
    """Raise if a setting is out of range, before anything is loaded.

    Raises:
        ValueError: If it is.
    """
    format_of(config.output)
    for name, least in (("count", 1), ("batch_size", 1), ("seed", 0)):
        value = config[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"Expected an integer `{name}` >= {least}, got {value}.")
    if config.max_draws is not None and (not isinstance(config.max_draws, int) or config.max_draws < config.count):
        raise ValueError(f"Expected `max_draws` >= `count` = {config.count}, got {config.max_draws}.")
    if config.guidance and config.gamma is None:
        raise ValueError("Expected a `gamma`, the guidance scale: for example gamma=2.")
    if config.gamma is not None and not config.guidance:
        raise ValueError("Expected no `gamma` without guidance: choose one, for example guidance=classifier_free.")


def _with_text(config: DictConfig) -> DictConfig:
    """Return the configuration with the lines of `infill_file` as `infill`.

    Raises:
        ValueError: If both are set, or the file has no line.
    """
    if config.infill_file is None:
        return config
    if config.infill is not None:
        raise ValueError("Expected either `infill` or `infill_file`, got both.")
    lines = Path(config.infill_file).read_text(encoding="utf-8").splitlines()
    texts = list(dict.fromkeys(line for line in lines if line.strip()))
    if not texts:
        raise ValueError(f"Expected a string on each line of `infill_file`, got none in {config.infill_file}.")
    return OmegaConf.merge(config, {"infill": texts, "infill_file": None})  # type: ignore[return-value]


def _is_exact(template: Template | Alternatives, checkpoint: Checkpoint) -> bool:
    """Return whether samples follow the model's distribution given the held tokens."""
    if checkpoint.process is None:
        return template.is_beginning
    return isinstance(checkpoint.process, MaskingNoise)


def _as_sweep(config: DictConfig) -> DictConfig:
    """Return the configuration of an evaluation with one point."""
    one: Any = {
        "suite": None,
        "samplers": None,
        "samples": 1,
        "gammas": None if config.gamma is None else [config.gamma],
        "data_labels": False,
        "pictures": {"draw": False, "trajectories": 0},
        "null_label": None,
    }
    return OmegaConf.create({**OmegaConf.to_container(config), **one})  # type: ignore[dict-item]


def _reward(config: DictConfig, checkpoint: Checkpoint, canonical: Callable[[str], str | None] | None) -> Reward:
    settings: Any = OmegaConf.to_container(config.reward, resolve=True)
    if settings["function"]["_target_"] is None:
        raise ValueError("Expected a reward for the search: reward.function._target_=my_module.my_function.")
    function = instantiate(settings["function"])
    return Reward(
        checkpoint.tokenizer,
        function,
        invalid=settings["invalid"],
        scale=1.0 if settings["scale"] is None else float(settings["scale"]),
        accepts=(lambda string: True) if canonical is None else lambda string: canonical(string) is not None,
        name=name_of(function),
    )


def _write(
    config: DictConfig,
    sweep: Sweep,
    templates: Mapping[str, Template | Alternatives | None],
    fragments: Fragments | None,
    file: SequenceFile,
    canonical: Callable[[str], str | None] | None,
    console: Console,
) -> dict[str, int]:
    generation = sweep.generation
    (point,) = sweep.points()
    size = generation.rows(sweep.guidance(point))
    form = canonical or (lambda string: string)
    filtered = config.valid or config.unique or fragments is not None
    seen = {hash(form(string) or string) for string in file.written()} if config.unique else set()
    requested = {} if point.condition == "unconditional" else {"label": point.condition}
    limit = config.count * 100 if config.max_draws is None else config.max_draws
    done: list[dict[str, int]] = list(file.state.get("counts", []))
    columns = (TextColumn("Sequences"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=config.count * len(templates))
        for number, (text, template) in enumerate(templates.items()):
            draw = _drawing(config, sweep, template)
            own = requested | ({"template": text} if len(templates) > 1 else {})
            counts = dict.fromkeys(("drawn", "written", *DISCARDED), 0)
            counts |= done[number] if number < len(done) else {}
            done[number : number + 1] = [counts]
            while counts["written"] < config.count and counts["drawn"] < limit:
                first, missing = counts["drawn"], config.count - counts["written"]
                # With filters the batch stays whole: how many pass is not known before.
                end = limit if filtered else first + missing
                starts = range(first, min(end, first + size * generation.ranks.count), size)
                for strings in draw([range(start, min(start + size, end)) for start in starts]):
                    if counts["written"] == config.count:
                        break
                    written = []
                    for string in strings:
                        if counts["written"] == config.count:
                            break
                        index = counts["drawn"]
                        counts["drawn"] += 1
                        known = form(string) if filtered else string
                        if (config.valid or fragments is not None) and known is None:
                            counts["invalid"] += 1
                            continue
                        if fragments is not None:
                            molecule = fragments.molecule(string)
                            if molecule is None:
                                counts["without the fragments"] += 1
                                continue
                            known = string = molecule
                        if config.unique:
                            key = hash(known or string)
                            if key in seen:
                                counts["repeated"] += 1
                                continue
                            seen.add(key)
                        counts["written"] += 1
                        written.append({"index": index, "sequence": string} | own)
                    file.write(written, {"counts": done})
                    bar.update(task, completed=sum(one["written"] for one in done))
            draw([])
            if counts["written"] < config.count:
                console.print(
                    f"Stopped after `max_draws` = {limit:,} draws{f' for {text}' * (len(templates) > 1)}.", markup=False
                )
    return {name: sum(one[name] for one in done) for name in done[0]}


def _assist(config: DictConfig, sweep: Sweep, templates: Mapping[str, Template | Alternatives | None]) -> None:
    """Draw this process's share of the batches of the first process, until it needs no more."""
    for template in templates.values():
        draw = _drawing(config, sweep, template)
        while draw([]):
            pass


def _drawing(
    config: DictConfig, sweep: Sweep, template: Template | Alternatives | None
) -> Callable[[Sequence[range]], list[list[str]]]:
    """Return a function from the indices of several batches to their strings, which all processes have to call.

    The processes share the batches of the first one, whatever the others pass.
    """
    generation, ranks = sweep.generation, sweep.generation.ranks
    (point,) = sweep.points()
    guidance, denoiser = sweep.guidance(point), generation.checkpoint.denoiser()

    def strings(indices: range) -> list[str]:
        y = None if point.label is None else torch.full((len(indices),), point.label)
        ids = _ids(generation, template, denoiser, indices, config.seed, y, guidance)
        return decode(generation.checkpoint.tokenizer, ids)

    def draw(batches: Sequence[range]) -> list[list[str]]:
        shared = ranks.broadcast(batches)
        return ranks.collect([(number, strings(indices)) for number, indices in ranks.share(shared)]) if shared else []

    return draw


def _ids(
    generation: Generation,
    template: Template | Alternatives | None,
    denoiser: Denoiser,
    indices: range,
    seed: int,
    y: Tensor | None,
    guidance: Guidance,
) -> Tensor:
    """Return the samples with these indices, (n, length), on the CPU."""
    if template is None:
        return last(generation.states(denoiser, indices, seed, y, guidance)).cpu()
    numbers = torch.tensor(indices)
    ids = torch.empty((len(indices), generation.checkpoint.length), dtype=torch.int64)
    for rows, clamp, allowed in template.groups(SampleStreams(seed, numbers), len(indices), generation.allowed):
        own = replace(generation, clamp=clamp[:1], allowed=allowed)
        labels = None if y is None else y[rows]
        ids[rows] = last(own.states(denoiser, numbers[rows].tolist(), seed, labels, guidance)).cpu()
    return ids


def _summary(counts: dict[str, int], output: str) -> str:
    where = "" if output == STDOUT else f" in {output}"
    discarded = "".join(f", {counts[name]:,} {name} discarded" for name in DISCARDED if counts[name])
    plural = "s" * (counts["written"] != 1)
    return f"{counts['written']:,} sequence{plural}{where}; {counts['drawn']:,} drawn{discarded}."
