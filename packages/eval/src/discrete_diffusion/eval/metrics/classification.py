"""How well a classifier names classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import accuracy_score, matthews_corrcoef, precision_recall_fscore_support


@dataclass(frozen=True)
class ClassScore:
    """One class.

    Attributes:
        name: what it is.
        precision: share of those given this class that have it; 0 where none are given it.
        recall: share of those that have this class that are given it; 0 where none have it.
        f1: harmonic mean of both; 0 where either is.
        support: how many have it.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class ClassificationReport:
    """Accuracy over all, and scores of each class.

    Attributes:
        count: how many there are.
        accuracy: share whose most probable class is theirs.
        macro_f1: mean F1 over all classes, those that none has included, as arXiv 2412.10193 reports it.
        mcc: Matthews' correlation coefficient of given and true classes, in [-1, 1]; 0 where either is always the same.
        classes: each class, by id.
    """

    count: int
    accuracy: float | None
    macro_f1: float | None
    mcc: float | None
    classes: tuple[ClassScore, ...]

    def row(self) -> dict[str, float | int | None]:
        """One flat row of a table: the numbers over all, and `precision_NAME`, `recall_NAME`, ... of each class."""
        row: dict[str, float | int | None] = {
            "count": self.count,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "mcc": self.mcc,
        }
        for one in self.classes:
            for name in ("precision", "recall", "f1", "support"):
                row[f"{name}_{one.name}"] = getattr(one, name)
        return row


def classification_report(
    labels: "np.ndarray | Sequence[int]", log_probs: np.ndarray, class_names: Sequence[str] | None = None
) -> ClassificationReport:
    """Compares the most probable class of each row with the true one.

    Args:
        labels: true class ids, (n,).
        log_probs: log-probabilities or any scores, (n, classes).
        class_names: what the classes are, their ids if None.

    Raises:
        ValueError: if the shapes do not agree, a label is no class, or a score is NaN.
    """
    true, scores = np.asarray(labels, dtype=np.int64), np.asarray(log_probs, dtype=np.float64)
    if true.ndim != 1 or scores.ndim != 2 or len(scores) != len(true):
        raise ValueError(f"Expected `labels` (n,) and `log_probs` (n, classes), got {true.shape} and {scores.shape}.")
    classes = scores.shape[1]
    names = tuple(map(str, range(classes))) if class_names is None else tuple(class_names)
    if len(names) != classes:
        raise ValueError(f"Expected {classes} `class_names`, one for each class, got {len(names)}.")
    if len(true) and not 0 <= true.min() <= true.max() < classes:
        raise ValueError(f"Expected `labels` from 0 to {classes - 1}, got {true.min()} to {true.max()}.")
    if np.isnan(scores).any():
        raise ValueError("Expected `log_probs` that are numbers, got NaN.")
    if not len(true):
        return ClassificationReport(0, None, None, None, tuple(ClassScore(name, 0.0, 0.0, 0.0, 0) for name in names))
    given = scores.argmax(1)
    each = precision_recall_fscore_support(true, given, labels=range(classes), average=None, zero_division=0.0)
    told = tuple(
        ClassScore(name, float(precision), float(recall), float(f1), int(support))
        for name, precision, recall, f1, support in zip(names, *each, strict=True)
    )
    return ClassificationReport(
        count=len(true),
        accuracy=float(accuracy_score(true, given)),
        macro_f1=float(np.mean([one.f1 for one in told])),
        mcc=float(matthews_corrcoef(true, given)) if len({*true.tolist(), *given.tolist()}) > 1 else 0.0,
        classes=told,
    )
