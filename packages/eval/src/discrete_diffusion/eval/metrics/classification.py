"""Accuracy, F1 and correlation of a classifier."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from sklearn.metrics import accuracy_score, matthews_corrcoef, precision_recall_fscore_support


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class.

    Args:
        name: Name of the class.
        precision: Share of the rows predicted as this class that belong to it; 0 if there are none.
        recall: Share of the rows of this class that are predicted as it; 0 if there are none.
        f1: Harmonic mean of precision and recall; 0 if either is.
        support: Number of rows of this class.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class ClassificationReport:
    """Scores over all rows and of each class. Scores over no rows are None.

    Args:
        count: Number of rows.
        accuracy: Share of the rows whose most probable class is the true one.
        macro_f1: Mean F1 over all classes, including those without rows, as in arXiv 2412.10193.
        mcc: Matthews correlation coefficient of predicted and true classes, in [-1, 1]; 0 if either is constant.
        classes: Scores of each class, by id.
    """

    count: int
    accuracy: float | None
    macro_f1: float | None
    mcc: float | None
    classes: tuple[ClassScore, ...]

    def row(self) -> dict[str, float | int | None]:
        """Return the scores as a flat table row; those of class X are in `precision_X`, `recall_X` and so on."""
        row: dict[str, float | int | None] = {
            "count": self.count,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "mcc": self.mcc,
        }
        for one in self.classes:
            scores = {"precision": one.precision, "recall": one.recall, "f1": one.f1, "support": one.support}
            row |= {f"{score}_{one.name}": value for score, value in scores.items()}
        return row


def classification_report(
    labels: Int[np.ndarray, " n"] | Sequence[int],
    log_probs: Float[np.ndarray, "n classes"],
    class_names: Sequence[str] | None = None,
) -> ClassificationReport:
    """Compare the most probable class of each row with the true one.

    Args:
        labels: True class ids.
        log_probs: Log-probabilities of the classes, or any scores.
        class_names: Names of the classes; by default their ids.

    Raises:
        ValueError: If the shapes do not agree, a label is not the id of a class, or a score is NaN.
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
        raise ValueError("Expected `log_probs` without missing values, got NaN.")
    if not len(true):
        return ClassificationReport(0, None, None, None, tuple(ClassScore(name, 0.0, 0.0, 0.0, 0) for name in names))
    predicted = scores.argmax(1)
    each = precision_recall_fscore_support(true, predicted, labels=range(classes), average=None, zero_division=0.0)
    by_class = tuple(
        ClassScore(name, float(precision), float(recall), float(f1), int(support))
        for name, precision, recall, f1, support in zip(names, *each, strict=True)
    )
    return ClassificationReport(
        count=len(true),
        accuracy=float(accuracy_score(true, predicted)),
        macro_f1=float(np.mean([one.f1 for one in by_class])),
        mcc=float(matthews_corrcoef(true, predicted)) if len({*true.tolist(), *predicted.tolist()}) > 1 else 0.0,
        classes=by_class,
    )
