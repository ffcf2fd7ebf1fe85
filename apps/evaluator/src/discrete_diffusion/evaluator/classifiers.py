"""The classifiers that steer."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from discrete_diffusion.checkpoints import (
    Checkpoint,
    ClassifierCheckpoint,
    load_classifier,
    newest_classifier,
)
from discrete_diffusion.datasets import Label
from discrete_diffusion.evaluator.conditions import asked_class
from discrete_diffusion.evaluator.presets import Preset
from discrete_diffusion.guidance import CountEvaluations
from discrete_diffusion.guidance.protocols import LogLikelihood


class NoClassifierError(FileNotFoundError):
    """No classifier of the wanted kind was trained for this generator."""


@dataclass(frozen=True)
class Steer:
    """What a method asks: log p(y | x_t), of what in words, and the network that answers, which counts its rows."""

    likelihood: LogLikelihood
    wanted: str
    network: CountEvaluations


@dataclass(frozen=True)
class Classifiers:
    """Finds the classifier of each preset, loads each once, and holds it to the generator.

    Args:
        folder: the generator's.
        checkpoint: the generator.
        device: where classifiers are put.
        path: the classifier of every preset that names none; None is the newest one of its kind.
        label: the class that is asked for where a classifier has the generator's classes; None is the last.
        strict: whether `path` must be of the kind that a preset wants; if not, it is left to those that want it.
    """

    folder: Path
    checkpoint: Checkpoint
    device: torch.device
    path: str | None = None
    label: int | None = None
    strict: bool = True
    loaded: dict[Path, tuple[ClassifierCheckpoint, CountEvaluations]] = field(default_factory=dict)

    def __call__(self, preset: Preset) -> Steer:
        """What `preset` steers by.

        Raises:
            NoClassifierError: if it names none, and there is none.
            FileNotFoundError: if it names one that is not there.
            ValueError: if it is of another kind or another generator's, or it cannot tell what is asked for.
        """
        settings = preset.classifier
        assert settings is not None
        kind = settings["kind"]
        given = settings.get("checkpoint")
        if given == "???":
            raise ValueError(
                f"Expected `guidance.{preset.key}.classifier.checkpoint=RUN`: it has a classifier of its own."
            )
        if given is None and self.path is not None and (self.strict or self._load(self.path)[0].kind == kind):
            given = self.path
        if given is None:
            try:
                given = newest_classifier(self.folder, kind)
            except FileNotFoundError as error:
                raise NoClassifierError(f"{preset.name}: {error}") from error
        classifier, network = self._load(given)
        if classifier.kind != kind:
            raise ValueError(f"Expected a {kind} classifier for {preset.name}, got a {classifier.kind} one: {given}.")
        classifier.matches(self.checkpoint)
        target, threshold, negate = settings.get("target"), settings.get("threshold"), bool(settings.get("negate"))
        if classifier.label is not None:
            own = self.checkpoint.label
            if target is None and own is not None and classifier.label.class_names == own.class_names:
                target = self.label
            target = _target(target, threshold, classifier.label, preset)
        elif (target is None) == (threshold is None):
            raise ValueError(
                f"Expected `guidance.{preset.key}.classifier.target` (near it) or `threshold` (above it): {given} is a "
                "regressor."
            )
        likelihood = classifier.likelihood(target, negate=negate, threshold=threshold, network=network)
        return Steer(likelihood, _words(classifier, target, threshold, negate), network)

    def _load(self, path: str | Path) -> tuple[ClassifierCheckpoint, CountEvaluations]:
        within = Path(path) / "classifier"
        folder = (within if within.is_dir() else Path(path)).resolve()
        if folder not in self.loaded:
            classifier = load_classifier(folder)
            network = classifier.network.to(self.device).eval().requires_grad_(False)
            self.loaded[folder] = classifier, CountEvaluations(network)
        return self.loaded[folder]


def certain(x: Tensor, t: Tensor) -> Tensor:
    """A likelihood that knows nothing, to put a method together with before its classifier is sought."""
    return torch.zeros(len(x), device=x.device)


def _target(target: Any, threshold: float | None, label: Label, preset: Preset) -> int:
    if threshold is not None:
        raise ValueError(f"Expected no `guidance.{preset.key}.classifier.threshold`: its classifier tells classes.")
    try:
        return asked_class(target, label)
    except ValueError as error:
        raise ValueError(str(error).replace("`label`", f"`guidance.{preset.key}.classifier.target`")) from error


def _words(classifier: ClassifierCheckpoint, target: Any, threshold: float | None, negate: bool) -> str:
    if classifier.label is not None:
        names = classifier.label.class_names
        if negate and len(names) == 2:
            return names[1 - target]
        return f"not {names[target]}" if negate else names[target]
    column = classifier.config["quantity"]["column"]
    if threshold is not None:
        return f"{column} {'<=' if negate else '>'} {threshold:g}"
    return f"{column} near {target:g}"
