import math

import numpy as np
import pytest

pytest.importorskip("sklearn")

from discrete_diffusion.eval.metrics.classification import classification_report


def scores(given: list[int], classes: int) -> np.ndarray:
    return np.log(np.eye(classes)[given] * 0.5 + 0.1)


def test_report_of_a_hand_computed_example() -> None:
    report = classification_report([0, 0, 0, 1, 1, 2], scores([0, 0, 1, 1, 0, 2], 4), ["a", "b", "c", "d"])
    a, b, c, d = report.classes
    assert (a.precision, a.recall, a.f1, a.support) == pytest.approx((2 / 3, 2 / 3, 2 / 3, 3))
    assert (b.precision, b.recall, b.f1, b.support) == (0.5, 0.5, 0.5, 2)
    assert (c.precision, c.recall, c.f1, c.support) == (1, 1, 1, 1)
    assert (d.precision, d.recall, d.f1, d.support) == (0, 0, 0, 0)
    assert report.accuracy == pytest.approx(4 / 6)
    assert report.macro_f1 == pytest.approx((2 / 3 + 0.5 + 1) / 4)
    # Gorodkin's R_K: (c s - Σ p_k t_k) / √((s² - Σ p_k²)(s² - Σ t_k²)) with 3, 2, 1 given and true.
    assert report.mcc == pytest.approx((4 * 6 - 14) / math.sqrt((36 - 14) * (36 - 14)))
    row = report.row()
    assert list(row)[:4] == ["count", "accuracy", "macro_f1", "mcc"]
    assert (row["f1_a"], row["support_b"], row["count"]) == (a.f1, 2, 6)


def test_two_classes_match_the_formula_of_matthews() -> None:
    labels, given = [1, 1, 1, 0, 0, 0, 0, 1], [1, 1, 0, 0, 0, 1, 0, 0]
    tp, tn, fp, fn = 2, 3, 1, 2
    expected = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert classification_report(labels, scores(given, 2)).mcc == pytest.approx(expected)


def test_scores_of_a_single_class() -> None:
    report = classification_report([1, 1], scores([1, 1], 3))
    assert (report.accuracy, report.mcc, report.macro_f1) == (1, 0, pytest.approx(1 / 3))
    assert [one.name for one in report.classes] == ["0", "1", "2"]
    assert classification_report([1, 1], scores([0, 2], 3)).mcc == 0


def test_scores_of_no_rows_are_none() -> None:
    report = classification_report([], np.zeros((0, 2)))
    assert (report.count, report.accuracy, report.macro_f1, report.mcc) == (0, None, None, None)
    assert len(report.classes) == 2


@pytest.mark.parametrize(
    ("labels", "log_probs", "names", "message"),
    [
        ([0, 1], np.zeros((3, 2)), None, r"got \(2,\) and \(3, 2\)"),
        ([0, 2], np.zeros((2, 2)), None, "Expected `labels` from 0 to 1, got 0 to 2"),
        ([0, 1], np.zeros((2, 2)), ["a"], "Expected 2 `class_names`"),
        ([0, 1], np.full((2, 2), np.nan), None, "got NaN"),
    ],
)
def test_inconsistent_arguments_are_refused(labels, log_probs, names, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classification_report(labels, log_probs, names)
