"""Judges: independent classifiers that label the samples and take no part in guidance."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from discrete_diffusion.checkpoints import Checkpoint, MissingClassifierError, load_classifier, newest_classifier
from discrete_diffusion.eval import SequenceClassifier, classification_report
from discrete_diffusion.evaluator.classifiers import NoClassifierError
from discrete_diffusion.evaluator.domains.domain import Number


class Judge(Protocol):
    """Function from samples to log-probabilities of their classes.

    Attributes:
        class_names: Names of the classes, in the order of the columns.
    """

    class_names: Sequence[str]

    def __call__(self, strings: Sequence[str], ids: Tensor) -> np.ndarray:
        """Return log-probabilities (n, classes) of strings with the tokens `ids` (n, l)."""
        ...


class TrainedJudge:
    """Classifier of clean tokens, from `uv run trainer task=clean_classifier`.

    Raises:
        ValueError: If the classifier is of another kind, or belongs to another model.
        FileNotFoundError: If there is none.
    """

    def __init__(
        self, path: str | None, *, folder: Path, checkpoint: Checkpoint, device: torch.device, batch_size: int
    ) -> None:
        try:
            classifier = load_classifier(newest_classifier(folder, "clean") if path is None else path)
        except MissingClassifierError as error:
            command = f"uv run trainer task=clean_classifier generator={folder}"
            raise NoClassifierError(f"{error} Train one with `{command}`, or name one by `judge.path=RUN`.") from error
        if classifier.kind != "clean" or classifier.label is None:
            raise ValueError(f"Expected a classifier of `task=clean_classifier` to judge by, got another: {path}.")
        classifier.matches(checkpoint)
        self.network = classifier.network.to(device).eval().requires_grad_(False)
        self.predictor, self.class_names = classifier.predictor(), classifier.label.class_names
        self.device, self.batch_size = device, batch_size

    def __call__(self, strings: Sequence[str], ids: Tensor) -> np.ndarray:
        """Return log-probabilities (n, classes) of the tokens; the strings are ignored."""
        with torch.no_grad():
            parts = [
                self.predictor(part.to(self.device), torch.zeros(len(part), device=self.device)).double().cpu()
                for part in ids.split(self.batch_size)
            ]
        return torch.cat(parts).numpy()


class HuggingFaceJudge:
    """Sequence classifier of strings, from a folder or the Hugging Face hub."""

    def __init__(self, name_or_path: str, **options: Any) -> None:
        self.classifier = SequenceClassifier(name_or_path, **options)
        self.class_names = self.classifier.class_names

    def __call__(self, strings: Sequence[str], ids: Tensor) -> np.ndarray:
        """Return log-probabilities (n, classes) of the strings; the tokens are ignored."""
        return self.classifier(strings)


def build_judge(config: DictConfig, checkpoint: Checkpoint, folder: Path, device: torch.device) -> Judge | None:
    """Return the judge that `config` names, None if it names none.

    Raises:
        ValueError: If it does not fit the model.
        FileNotFoundError: If it does not exist.
    """
    if not config.judge:
        return None
    made = instantiate(config.judge)
    if not isinstance(made, partial):
        return made
    return made(folder=folder, checkpoint=checkpoint, device=device, batch_size=config.batch_size)


def judged(
    judge: Judge, known: Sequence[str], strings: Sequence[str], ids: Tensor, requested: Tensor | None
) -> dict[str, Number]:
    """Return columns of results.csv: the share of each class, and agreement with the requested classes.

    `accuracy` is the share of samples of the requested class. Macro F1, Matthews' correlation and the F1 of each class
    are computed if several classes were requested.

    Args:
        judge: Judge with the model's classes in any order, or as many classes with other names in the same order.
        known: The model's classes, () without labels.
        strings: Samples.
        ids: Their tokens, (n, l).
        requested: Requested class of each sample, or None.

    Raises:
        ValueError: If the judge does not have the model's classes.
    """
    log_probs, names = judge(strings, ids), list(judge.class_names)
    if known:
        if len(names) != len(known):
            raise ValueError(
                f"Expected a judge of the model's {len(known)} classes ({', '.join(known[:6])}), got one of "
                f"{len(names)} ({', '.join(names[:6])})."
            )
        if set(names) == set(known):
            log_probs = log_probs[:, [names.index(name) for name in known]]
        names = list(known)
    found = log_probs.argmax(-1)
    numbers: dict[str, Number] = {f"judged_{name}": float((found == i).mean()) for i, name in enumerate(names)}
    if not known:
        return numbers
    agreement: dict[str, Number] = dict.fromkeys(["accuracy", "macro_f1", "mcc", *(f"f1_{name}" for name in names)])
    if requested is not None:
        agreement["accuracy"] = float((found == requested.numpy()).mean())
        if len(requested.unique()) > 1:
            row = classification_report(requested.numpy(), log_probs, class_names=names).row()
            agreement |= {name: row[name] for name in agreement}
    return numbers | agreement
