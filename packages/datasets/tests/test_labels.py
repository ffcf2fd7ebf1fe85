import numpy as np
import pytest
from datasets import Dataset

from discrete_diffusion.datasets import (
    CategoryLabel,
    JointLabel,
    PercentileLabel,
    ThresholdLabel,
    load_label,
    save_label,
)

SEVERAL = Dataset.from_dict(
    {
        "qed": [0.1, 0.9, 0.2, 0.8, 0.9, None, 0.3],
        "rings": [1, 4, 5, 2, 4, 4, 1],
        "kind": ["a", "b", "a", "b", "b", "a", ""],
    }
)


def test_several_columns_are_one_label(tmp_path):
    rule = JointLabel([PercentileLabel("qed", 50), ThresholdLabel("rings", 3)])
    label = rule.fit(SEVERAL)
    assert label.class_names == (
        "qed <= 0.55, rings <= 3",
        "qed <= 0.55, rings > 3",
        "qed > 0.55, rings <= 3",
        "qed > 0.55, rings > 3",
    )
    assert label.ids(SEVERAL).tolist() == [0, 3, 1, 2, 3, 4, 0]
    assert (label.column, label.num_classes) == ("qed, rings", 4)
    save_label(label, tmp_path / "label.json")
    assert load_label(tmp_path / "label.json") == label
    described = [{"column": "qed", "percentile": 50}, {"column": "rings", "threshold": 3}]
    assert JointLabel(described) == rule


def test_only_combinations_that_occur_are_classes():
    label = JointLabel([{"column": "kind"}, {"column": "qed", "threshold": 0.5}]).fit(SEVERAL)
    assert label.class_names == ("kind = a, qed <= 0.5", "kind = b, qed > 0.5")
    assert label.ids(SEVERAL).tolist() == [0, 1, 0, 1, 1, 2, 2]
    other = Dataset.from_dict({"kind": ["a"], "qed": [0.9]})
    with pytest.raises(ValueError, match=r"Expected the classes kind = a, qed <= 0\.5; .* got kind = a, qed > 0"):
        label.ids(other)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([{"column": "qed", "percentile": 50}], "at least two rules in `labels`, got 1"),
        ([{"percentile": 50}, {"column": "kind"}], "Expected a `column` in each of `labels`, got {'percentile': 50}"),
        ([{"column": "qed", "above": 1}, {"column": "kind"}], "Expected arguments of `CategoryLabel`"),
        ([{"column": "qed", "threshold": 1}, {"column": "qed", "threshold": 2}], "different columns .* got qed, qed"),
        ([{"column": "qed", "threshold": 1}, {"column": "rings", "threshold": 9}], "got only 'qed <= 1, rings <= 9'"),
    ],
)
def test_rules_that_make_no_joint_label(labels, message):
    with pytest.raises(ValueError, match=message):
        JointLabel(labels).fit(SEVERAL)


MORE = {"none": [None, None], "endless": [1.0, float("inf")]}


def test_rows_without_a_label_have_the_null_label():
    rows = Dataset.from_dict(
        {"x": [1.0, None, 3.0, float("nan")], "kind": ["a", "b", None, " "], "count": [1, None, 2, 2]}
    )
    above = PercentileLabel("x", 50).fit(rows)
    assert above.threshold == 2.0
    assert above.ids(rows).tolist() == [0, 2, 1, 2]
    assert above.ids(rows).dtype == np.int64
    kinds = CategoryLabel("kind").fit(rows)
    assert kinds.class_names == ("a", "b")
    assert kinds.ids(rows).tolist() == [0, 1, 2, 2]
    assert CategoryLabel("count").fit(rows).ids(rows).tolist() == [0, 2, 1, 1]


def test_the_percentile_and_its_ties():
    rows = Dataset.from_dict({"rings": [0, 1, 1, 2, 2, 2, 2, 2, 3, 4]})
    # The 60th percentile of these ten values lies between the 6th and the 7th, which are both 2.
    above = PercentileLabel("rings", 60).fit(rows)
    assert (above.threshold, above.num_classes) == (2.0, 2)
    assert above.class_names == ("rings <= 2", "rings > 2")
    assert above.ids(rows).tolist() == [0] * 8 + [1, 1]
    at_least = PercentileLabel("rings", 60, ">=").fit(rows)
    assert at_least.class_names == ("rings < 2", "rings >= 2")
    assert at_least.ids(rows).tolist() == [0] * 3 + [1] * 7
    assert PercentileLabel("rings", 60, "<=").fit(rows).ids(rows).tolist() == [1] * 8 + [0, 0]
    assert PercentileLabel("rings", 60, "<").fit(rows).ids(rows).tolist() == [1] * 3 + [0] * 7


def test_a_tenth_is_above_the_90th_percentile():
    values = np.random.default_rng(0).permutation(1000) / 1000
    rows = Dataset.from_dict({"qed": values})
    label = PercentileLabel().fit(rows)
    assert label.ids(rows).dtype == np.int64
    assert label.ids(rows).tolist() == [int(value >= 0.9) for value in values]


def test_categories():
    rows = Dataset.from_dict(
        {"kind": ["b", "a", "c", "a"], "number": [10, 9, 9, 10], "flag": [True, False, True, True]}
    )
    label = CategoryLabel("kind").fit(rows)
    assert label.class_names == ("a", "b", "c")
    assert label.num_classes == 3
    assert label.ids(rows).tolist() == [1, 0, 2, 0]
    assert CategoryLabel("number").fit(rows).class_names == ("9", "10")
    assert CategoryLabel("flag").fit(rows).ids(rows).tolist() == [1, 0, 1, 1]
    with pytest.raises(ValueError, match="Expected the classes a, b, c in 'kind', got z"):
        label.ids(Dataset.from_dict({"kind": ["a", "z"]}))


def test_json_gives_the_same_label(tmp_path):
    rows = Dataset.from_dict({"x": [0.1, 0.2, 1 / 3], "kind": ["b", "a", "b"]})
    for label in (PercentileLabel("x", 50, ">=").fit(rows), CategoryLabel("kind").fit(rows)):
        save_label(label, tmp_path / "label.json")
        assert load_label(tmp_path / "label.json") == label
        assert load_label(tmp_path / "label.json").fit(rows) == label


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rows: PercentileLabel(percentile=100), "Expected 0 < `percentile` < 100, got 100"),
        (lambda rows: PercentileLabel(comparison="=="), "Expected `comparison` to be one of >, >=, <, <=, got '=='"),
        (lambda rows: ThresholdLabel("x", 0.5, "!"), "Expected `comparison` to be one of"),
        (lambda rows: PercentileLabel("y").fit(rows), "Expected a column 'y'.*columns are x, same, text, gap"),
        (lambda rows: PercentileLabel("same").fit(rows), "Expected both classes to have members"),
        (lambda rows: PercentileLabel("text").fit(rows), "Expected numbers in the column 'text'"),
        (lambda rows: PercentileLabel("gap").fit(rows), "Expected both classes to have members"),
        (lambda rows: PercentileLabel("none").fit(rows), "at least one row of the column 'none'"),
        (lambda rows: CategoryLabel("none").fit(rows), "at least one row of the column 'none'"),
        (lambda rows: ThresholdLabel("endless", 1.0).ids(rows), "Expected finite numbers in the column 'endless'"),
        (lambda rows: CategoryLabel("x").fit(rows), "got float: use `PercentileLabel`"),
        (lambda rows: CategoryLabel("same").fit(rows), "at least two classes in the column 'same', got 1"),
    ],
)
def test_errors(make, message):
    rows = Dataset.from_dict({"x": [0.5, 1.0], "same": [1, 1], "text": ["a", "b"], "gap": [1.0, None], **MORE})
    with pytest.raises(ValueError, match=message):
        make(rows)
