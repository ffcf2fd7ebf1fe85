"""Sweep of an evaluation: its points, and the guidance of each."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.datasets import Label
from discrete_diffusion.evaluator.classifiers import (
    Classifiers,
    ClassifierTarget,
    NoClassifierError,
    uninformative_likelihood,
)
from discrete_diffusion.evaluator.constraints import read_constraints, read_prompt
from discrete_diffusion.evaluator.generation import Generated, Generation
from discrete_diffusion.evaluator.guidance import Guidance, build_guidance
from discrete_diffusion.evaluator.methods import Method, read_methods
from discrete_diffusion.evaluator.point import EACH, Point, target_class
from discrete_diffusion.evaluator.ranks import ALONE, Ranks
from discrete_diffusion.evaluator.requested import RequestedValues, intersection
from discrete_diffusion.evaluator.rewards import Reward
from discrete_diffusion.evaluator.sampler import SamplerSetting, build_grid, build_sampler, read_samplers
from discrete_diffusion.guidance import KernelGuidanceError, is_left_to_right

GAMMAS = (0.0, 1.0, 2.0, 3.0, 5.0)
MODELS = ("any", "diffusion", "left_to_right")


@dataclass(frozen=True)
class Combination:
    """Guidance methods that act together, at several guidance scales.

    Attributes:
        methods: The methods; those of one level wrap the model in this order. Empty without guidance.
        gammas: The guidance scales.
        samples: Number of samples for each scale and seed.
        name: Name of the row of the suite, "" without a suite.
    """

    methods: tuple[Method, ...]
    gammas: tuple[float, ...]
    samples: int
    name: str = ""

    @property
    def guidance(self) -> str:
        """Names of the methods."""
        return " + ".join(method.name for method in self.methods) or "none"

    @property
    def needs_labels(self) -> bool:
        """Whether the model must have been trained with labels."""
        return any(method.needs_labels for method in self.methods)


@dataclass(frozen=True)
class Sweep:
    """Everything that an evaluation samples.

    Attributes:
        config: The configuration.
        generation: Settings that all points share.
        combinations: The guidance methods that act together.
        targets: Target of each method with a classifier, by its key.
        left_to_right: Whether the model goes from left to right.
        reward: Reward of the searches.
        samplers: The samplers that are compared; empty if there is one, that of `generation`.
    """

    config: DictConfig
    generation: Generation
    combinations: Sequence[Combination]
    targets: Mapping[str, ClassifierTarget] = field(default_factory=dict)
    left_to_right: bool = False
    reward: Reward | None = None
    samplers: Sequence[SamplerSetting] = ()

    @property
    def searches(self) -> bool:
        """Whether a method asks a reward."""
        return any(method.level == "search" for row in self.combinations for method in row.methods)

    def points(self) -> list[Point]:
        """Return the points in the order in which they are sampled."""
        words = {key: target.words for key, target in self.targets.items()}
        if self.reward is not None:
            methods = [method for row in self.combinations for method in row.methods]
            words |= {method.key: f"high {self.reward.name}" for method in methods if method.level == "search"}
        points = list_points(self.config, self.generation.checkpoint.label, self.combinations, words)
        return points if not self.samplers else [_with(point, one) for one in self.samplers for point in points]

    def requested(self, column: str) -> tuple[float, float] | None:
        """Return both ends of the values of a column that guidance steers to, if all combinations share them."""
        found = set()
        for row in self.combinations:
            targets = [self.targets[method.key] for method in row.methods if method.key in self.targets]
            ranges = [target.requested for target in targets if target.requested is not None]
            found.add(intersection(one for one in ranges if one.column == column))
        return found.pop() if len(found) == 1 else None

    def generate(self, point: Point, seed: int, y: Tensor | None, advance: Callable[[float], None]) -> Generated:
        """Draw the samples of a point; see `Generation`."""
        samplers = {(one.name, one.setting): one.sampler for one in self.samplers}
        sampler = samplers.get((point.sampler, point.setting), self.generation.sampler)
        generation = replace(self.generation, sampler=sampler)
        return generation(point.samples, seed, y, self.guidance(point), advance)

    def guidance(self, point: Point) -> Guidance:
        """Return the guidance of a point."""
        targets = [self.targets[method.key] for method in point.methods if method.key in self.targets]
        return build_guidance(
            self.config,
            point.methods,
            point.gamma,
            likelihoods={key: target.likelihood for key, target in self.targets.items()},
            classifiers=list(dict.fromkeys(target.network for target in targets)),
            reward=self.reward,
            null_label=self.generation.checkpoint.null_label,
            left_to_right=self.left_to_right,
        )


def build_sweep(
    config: DictConfig,
    checkpoint: Checkpoint,
    folder: Path,
    device: torch.device,
    report: Callable[[str], None],
    ranks: Ranks = ALONE,
) -> Sweep:
    """Build the sweep of a configuration, except for its reward, and load the classifiers.

    Args:
        config: The configuration.
        checkpoint: The generator.
        folder: Its folder.
        device: Device of the classifiers.
        report: Called with a line for each row of the suite, and each sampler under comparison, that is left out.
        ranks: The processes that share the samples.

    Raises:
        ValueError: If a setting does not fit the model or is out of range.
        NoClassifierError: If a classifier is missing, except in a suite, which leaves its row out.
    """
    left_to_right = is_left_to_right(checkpoint.denoiser())
    combinations = read_combinations(config, checkpoint.label, left_to_right, report)
    clamp = read_prompt(config.prompt, checkpoint)
    grid = build_grid(config, checkpoint, report)
    generation = Generation(
        checkpoint,
        build_sampler(config, checkpoint, grid),
        batch_size=config.batch_size,
        device=device,
        clamp=clamp,
        allowed=read_constraints(config.constraints, checkpoint, clamp),
        keep_states_of=config.pictures.trajectories if config.pictures.draw else 0,
        ranks=ranks,
    )
    samplers = [] if config.get("samplers") is None else read_samplers(config, checkpoint, grid)
    if samplers:
        samplers = _fitting(config, generation, combinations, samplers, report)
    else:
        _check_guidance(config, generation, combinations, left_to_right)
    classifiers = Classifiers(
        folder,
        checkpoint,
        device,
        path=config.classifier,
        label=None if config.label == EACH else config.label,
        strict=config.suite is None,
    )
    kept: list[Combination] = []
    targets: dict[str, ClassifierTarget] = {}
    for row in combinations:
        try:
            targets |= {method.key: classifiers.find(method) for method in row.methods if method.classifier is not None}
        except NoClassifierError as error:
            if config.suite is None:
                raise
            report(f"Left out: {row.name}, {error}")
            continue
        kept.append(row)
    if not kept:
        raise ValueError("Expected a row of the suite that can be run, but all are left out.")
    if config.classifier is not None and not targets:
        raise ValueError(f"Expected no `classifier`: no guidance method uses {config.classifier}.")
    return Sweep(config, generation, kept, targets, left_to_right, samplers=samplers)


def read_combinations(
    config: DictConfig, label: Label | None, left_to_right: bool, report: Callable[[str], None] = lambda line: None
) -> list[Combination]:
    """Return the combinations of a configuration: the chosen guidance, or the rows of its suite that fit the model.

    Args:
        config: The configuration.
        label: Classes of the model.
        left_to_right: Whether the model goes from left to right.
        report: Called with a line for each row of the suite that is left out for lack of labels.

    Raises:
        ValueError: If no row fits, or the methods of a row exclude each other.
    """
    methods = read_methods(config.guidance)
    if config.suite is None:
        return [_read_single(config, tuple(methods.values()), label)]
    found = []
    for name, settings in config.suite.items():
        row = _read_row(config, str(name), settings, methods)
        if row is None or settings.get("for", "any") not in ("any", MODELS[1 + left_to_right]):
            continue
        if row.needs_labels and label is None:
            report(f"Left out: {name}, {row.guidance} needs labels, and the model was trained without.")
            continue
        found.append(row)
    if not found:
        kind = "left-to-right" if left_to_right else "diffusion"
        raise ValueError(f"Expected a row of the suite that can be run, but none is for this {kind} model.")
    return found


def list_points(
    config: DictConfig, label: Label | None, combinations: Sequence[Combination], targets: Mapping[str, str]
) -> list[Point]:
    """Return the points of all combinations in the order in which they are sampled.

    Args:
        config: The configuration.
        label: Classes of the model.
        combinations: See `read_combinations`.
        targets: Target of a method in words, by its key; methods without an entry steer toward the class.

    Raises:
        ValueError: If the class does not exist, or a method cannot steer toward every class in turn.
    """
    every = config.label == EACH
    if every and label is None:
        raise ValueError("The model was trained without labels: leave out `label`.")
    target = target_class(None if every else config.label, label)
    null = None if label is None else label.num_classes
    points: list[Point] = []
    if config.suite is not None or not any(row.gammas for row in combinations):
        # Numbers are a request even without guidance.
        plain = isinstance(label, RequestedValues) and config.suite is None
        words = label.class_names[target] if plain and label is not None else "unconditional"
        points.append(Point("none", None, words, config.samples, target if plain else null))
    for row in combinations:
        class_words = row.guidance if label is None else "each class" if every else label.class_names[target]
        single = next((method for method in row.methods if method.classifier is not None), None)
        if every and single is not None:
            raise ValueError(f"Expected one class in `label` for {single.name}: its classifier steers toward one.")
        words = " and ".join(dict.fromkeys(targets.get(method.key, class_words) for method in row.methods))
        points += [
            Point(
                row.guidance,
                gamma,
                words if gamma else "unconditional",
                row.samples,
                target if row.needs_labels else null,
                row=row.name,
                each=label.num_classes if label is not None and every and row.needs_labels else 0,
                methods=row.methods,
            )
            for gamma in row.gammas
        ]
    if label is not None and config.data_labels:
        points.append(Point("none", None, "as in the data", config.samples, data_labels=True))
    return points


def _with(point: Point, one: SamplerSetting) -> Point:
    return replace(point, sampler=one.name, setting=one.setting, steps=one.steps)


def _fitting(
    config: DictConfig,
    generation: Generation,
    combinations: Sequence[Combination],
    samplers: Sequence[SamplerSetting],
    report: Callable[[str], None],
) -> list[SamplerSetting]:
    """Return the samplers that run under every guidance of the sweep.

    Raises:
        ValueError: If none does.
    """
    kept, errors = [], dict[str, ValueError]()
    for one in samplers:
        try:
            _check_guidance(config, replace(generation, sampler=one.sampler), combinations, left_to_right=False)
        except ValueError as error:
            errors.setdefault(one.name, error)
            continue
        kept.append(one)
    if not kept:
        first = next(iter(errors.values()))
        raise first
    for name, reason in errors.items():
        report(f"Left out: {name}, {reason}")
    return kept


def _check_guidance(
    config: DictConfig, generation: Generation, combinations: Sequence[Combination], left_to_right: bool
) -> None:
    """Build the guidance of every point with a classifier and a reward that are constant.

    A method that does not fit the model raises here, before classifiers are searched for and data are read.

    Raises:
        ValueError: If a method does not fit the model or the sampler.
    """
    checkpoint = generation.checkpoint
    for point in list_points(config, checkpoint.label, combinations, {}):
        guidance = build_guidance(
            config,
            point.methods,
            point.gamma,
            likelihoods={method.key: uninformative_likelihood for method in point.methods},
            reward=Reward(checkpoint.tokenizer, lambda string: 0.0),
            null_label=checkpoint.null_label,
            left_to_right=left_to_right,
        )
        try:
            generation.check(guidance)
        except KernelGuidanceError as error:
            key = next(method.key for method in point.methods if method.level == "kernel")
            raise ValueError(f"{error} On the command line: `guidance.{key}.level=denoiser`.") from error


def _read_single(config: DictConfig, methods: tuple[Method, ...], label: Label | None) -> Combination:
    row = _checked(Combination(methods, _read_gammas(config.gammas, "gammas") or GAMMAS, config.samples))
    if config.gammas is not None and not methods:
        raise ValueError("Expected no `gammas` without guidance: they are its scales.")
    if methods and all(method.level == "search" for method in methods) and config.strength._target_ != "builtins.float":
        raise ValueError(f"Expected `strength=constant`: the gamma of {row.guidance} does not change over time.")
    if row.needs_labels and label is None:
        # The default guidance of the configuration is no request of the user.
        if config.gammas is None and len(methods) == 1:
            return Combination((), (), config.samples)
        raise ValueError(
            f"Expected no {row.guidance} guidance: it needs labels, and the model was trained without "
            "(guidance=none leaves it out)."
        )
    return Combination((), (), config.samples) if not methods or config.gammas == [] else row


def _read_row(config: DictConfig, name: str, settings: Any, methods: Mapping[str, Method]) -> Combination | None:
    """Return a row of the suite, or None if the chosen guidance lacks one of its methods.

    Raises:
        ValueError: If a setting of the row is unknown, missing or out of range.
    """
    row = OmegaConf.to_container(settings) if isinstance(settings, DictConfig) else {}
    assert isinstance(row, dict)
    unknown = row.keys() - {"guidance", "level", "for", "gammas", "samples"}
    if not row.get("guidance") or unknown:
        raise ValueError(
            f"Expected `guidance`, and perhaps `level`, `for`, `gammas` and `samples`, under `suite.{name}`, "
            f"got {', '.join(map(str, row)) or settings}."
        )
    if row.get("for", "any") not in MODELS:
        raise ValueError(f"Expected `suite.{name}.for` to be one of {', '.join(MODELS)}, got {row['for']}.")
    if not methods.keys() >= set(row["guidance"]):
        return None
    gammas = _read_gammas(config.gammas, "gammas") or _read_gammas(row.get("gammas"), f"suite.{name}.gammas") or GAMMAS
    samples = config.samples if row.get("samples") is None else row["samples"]
    if not isinstance(samples, int) or samples < 1:
        raise ValueError(f"Expected `suite.{name}.samples` >= 1, got {samples}.")
    # At scale 0 all rows are the same unguided model, which the suite samples once.
    guided = tuple(gamma for gamma in gammas if gamma)
    at_level = read_methods(config.guidance, row["level"]) if row.get("level") else methods
    return _checked(Combination(tuple(at_level[key] for key in row["guidance"]), guided, samples, name))


def _checked(row: Combination) -> Combination:
    searches = [method.name for method in row.methods if method.level == "search"]
    if len(searches) > 1:
        raise ValueError(f"Expected at most one search, got {' and '.join(searches)}: a sample is drawn by one.")
    return row


def _read_gammas(setting: Sequence[Any] | None, name: str) -> tuple[float, ...]:
    gammas = [] if setting is None else list(setting)
    bad = [g for g in gammas if isinstance(g, (bool, str)) or g is None or math.isnan(g) or g < 0]
    if bad or len(set(gammas)) < len(gammas):
        raise ValueError(f"Expected distinct numbers >= 0 in `{name}`, got {gammas}.")
    return tuple(map(float, gammas))
