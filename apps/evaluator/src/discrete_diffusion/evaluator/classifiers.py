"""Classifiers and targets of guidance methods."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from discrete_diffusion.checkpoints import (
    Checkpoint,
    ClassifierCheckpoint,
    MissingClassifierError,
    load_classifier,
    newest_classifier,
)
from discrete_diffusion.datasets import Label
from discrete_diffusion.evaluator.methods import Method
from discrete_diffusion.evaluator.point import target_class
from discrete_diffusion.evaluator.requested import RequestedRange
from discrete_diffusion.guidance import CountEvaluations, LogLikelihood


class NoClassifierError(FileNotFoundError):
    """No classifier of the required kind was trained for this generator."""


@dataclass(frozen=True)
class ClassifierTarget:
    """Target of a guidance method with a classifier.

    Attributes:
        likelihood: log p(y | x_t) of the target.
        words: The target in words.
        network: The classifier's network, which counts its evaluations.
        requested: Values that a regressor steers to; None for classes, and for values outside of a range.
    """

    likelihood: LogLikelihood
    words: str
    network: CountEvaluations
    requested: RequestedRange | None = None


@dataclass(frozen=True)
class Classifiers:
    """Classifiers for the guidance of one generator, each loaded once.

    Args:
        folder: Folder of the generator.
        checkpoint: The generator.
        device: Device of the classifiers.
        path: Classifier of every method that names none; None takes the newest of the required kind.
        label: Target class of classifiers that have the generator's classes; None is the last.
        strict: Whether a `path` of another kind than a method requires is an error; otherwise such a method searches
            for the newest classifier of its kind.
    """

    folder: Path
    checkpoint: Checkpoint
    device: torch.device
    path: str | None = None
    label: int | str | None = None
    strict: bool = True
    loaded: dict[Path, tuple[ClassifierCheckpoint, CountEvaluations]] = field(default_factory=dict)

    def find(self, method: Method) -> ClassifierTarget:
        """Return the target of a method.

        Raises:
            NoClassifierError: If the method names no classifier, and none was trained.
            FileNotFoundError: If the classifier that it names does not exist.
            ValueError: If the classifier is of another kind, belongs to another generator, or has no such target.
        """
        settings = method.classifier
        assert settings is not None
        kind = settings["kind"]
        path = self._path(method, kind, settings.get("checkpoint"))
        classifier, network = self._load(path)
        if classifier.kind != kind:
            raise ValueError(f"Expected a {kind} classifier for {method.name}, got a {classifier.kind} one: {path}.")
        classifier.matches(self.checkpoint)
        target, threshold, negate = settings.get("target"), settings.get("threshold"), bool(settings.get("negate"))
        if classifier.label is not None:
            own = self.checkpoint.label
            if target is None and own is not None and classifier.label.class_names == own.class_names:
                target = self.label
            target = _class_target(target, threshold, classifier.label, method)
        elif (target is None) == (threshold is None):
            raise ValueError(
                f"Expected `guidance.{method.key}.classifier.target` (near it) or `threshold` (above it, or [low, "
                f"high]): {path} is a regressor."
            )
        likelihood = classifier.likelihood(target, negate=negate, threshold=threshold, network=network)
        requested = None if classifier.label is not None else _requested(classifier, target, threshold, negate)
        return ClassifierTarget(likelihood, _words(classifier, target, threshold, negate), network, requested)

    def _path(self, method: Method, kind: str, path: str | None) -> str | Path:
        if path == "???":
            raise ValueError(
                f"Expected `guidance.{method.key}.classifier.checkpoint=RUN`: this method needs its own classifier."
            )
        if path is not None:
            return path
        if self.path is not None and (self.strict or self._load(self.path)[0].kind == kind):
            return self.path
        try:
            return newest_classifier(self.folder, kind)
        except MissingClassifierError as error:
            command = f"uv run trainer task={kind}_classifier generator={self.folder}"
            raise NoClassifierError(f"{method.name}: {error} Train one with `{command}`, or name one.") from error

    def _load(self, path: str | Path) -> tuple[ClassifierCheckpoint, CountEvaluations]:
        within = Path(path) / "classifier"
        folder = (within if within.is_dir() else Path(path)).resolve()
        if folder not in self.loaded:
            classifier = load_classifier(folder)
            network = classifier.network.to(self.device).eval().requires_grad_(False)
            self.loaded[folder] = classifier, CountEvaluations(network)
        return self.loaded[folder]


def uninformative_likelihood(x: Tensor, t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return log p(y | x_t) = 0, to build a method before its classifier is found."""
    return torch.zeros(len(x), device=x.device)


def _class_target(target: Any, threshold: float | Sequence[float] | None, label: Label, method: Method) -> int:
    if threshold is not None:
        raise ValueError(f"Expected no `guidance.{method.key}.classifier.threshold`: its classifier predicts classes.")
    try:
        return target_class(target, label)
    except ValueError as error:
        raise ValueError(str(error).replace("`label`", f"`guidance.{method.key}.classifier.target`")) from error


def _requested(
    classifier: ClassifierCheckpoint, target: Any, threshold: float | Sequence[float] | None, negate: bool
) -> RequestedRange | None:
    column = classifier.config["quantity"]["column"]
    if isinstance(threshold, Sequence):
        return None if negate else RequestedRange(column, *map(float, threshold))
    if threshold is None:
        return RequestedRange(column, float(target), float(target))
    return RequestedRange(column, -math.inf if negate else float(threshold), float(threshold) if negate else math.inf)


def _words(
    classifier: ClassifierCheckpoint, target: Any, threshold: float | Sequence[float] | None, negate: bool
) -> str:
    if classifier.label is not None:
        names = classifier.label.class_names
        if negate and len(names) == 2:
            return names[1 - target]
        return f"not {names[target]}" if negate else names[target]
    column = classifier.config["quantity"]["column"]
    if isinstance(threshold, Sequence):
        low, high = threshold
        return f"{column} {'outside' if negate else 'in'} {low:g} to {high:g}"
    if threshold is not None:
        return f"{column} {'<=' if negate else '>'} {threshold:g}"
    return f"{column} near {target:g}"
