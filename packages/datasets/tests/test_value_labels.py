"""Numbers as the condition of a row."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from discrete_diffusion.datasets import (
    FittedValueLabel,
    ValueLabel,
    load_label,
    save_label,
    sequence_data,
    smiles_tokenizer,
)

ROWS = Dataset.from_dict(
    {
        "smiles": ["CCO", "CC", "CCC", "CO", "CCCC", "O"],
        "qed": [0.1, 0.3, None, 0.5, 0.7, math.nan],
        "charge": [-1, 1, 0, 0, None, None],
        "name": ["a", "b", "c", "d", "e", "f"],
        "flat": [2.0] * 6,
    }
)
LABEL = FittedValueLabel(("qed", "logp"), (0.5, 2.0), (0.1, 4.0))


def test_numbers_are_standardized_over_the_rows_that_have_them():
    fitted = ValueLabel(["qed", "charge"]).fit(ROWS)
    values = fitted.values(ROWS)
    assert values.dtype == np.float32
    assert (fitted.columns, fitted.column) == (("qed", "charge"), "qed, charge")
    np.testing.assert_allclose(np.nanmean(values, 0), 0, atol=1e-6)
    np.testing.assert_allclose(np.nanstd(values, 0), 1, atol=1e-6)
    assert np.isnan(values).tolist() == [
        [False] * 2,
        [False] * 2,
        [True, False],
        [False] * 2,
        [False, True],
        [True] * 2,
    ]
    assert fitted.fit(ROWS.select([0, 1])) is fitted


def test_sequences_have_their_numbers_and_the_report_counts_rows_without_any():
    data = sequence_data(ROWS, tokenizer=smiles_tokenizer, label=ValueLabel(["qed", "charge"]), validation=0.34)
    assert data.label is None
    assert data.values == ValueLabel(["qed", "charge"]).fit(ROWS)
    for part in (data.rows, data.validation):
        found = part["label"][:]
        assert (found.dtype, found.shape) == (torch.float32, (len(part), 2))
        np.testing.assert_array_equal(found.numpy(), data.values.values(part))
    assert data.report.describe() == "1 of 6 rows (17%) unconditional: no label in 'qed, charge' (row 6)"


def test_one_column_is_its_name():
    assert ValueLabel("qed").fit(ROWS) == ValueLabel(["qed"]).fit(ROWS)
    assert ValueLabel("qed").fit(ROWS).values(ROWS).shape == (6, 1)


def test_requests_are_in_the_units_of_the_columns():
    np.testing.assert_allclose(LABEL.request([0.7, 6]), [2, 1], rtol=1e-6)
    np.testing.assert_allclose(LABEL.request({"logp": 2}), [math.nan, 0])
    np.testing.assert_allclose(LABEL.request([0.6, None]), [1, math.nan], rtol=1e-6)
    np.testing.assert_allclose(FittedValueLabel(("qed",), (0.5,), (0.1,)).request(0.4), [-1], rtol=1e-6)


def test_a_label_is_saved(tmp_path: Path):
    save_label(LABEL, tmp_path / "label.json")
    assert load_label(tmp_path / "label.json") == LABEL
    assert json.loads((tmp_path / "label.json").read_text())["columns"] == ["qed", "logp"]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("absent", "Expected a column 'absent' for the label; the columns are smiles, qed, charge, name, flat"),
        (["qed", "name"], "Expected numbers in the column 'name': could not convert string to float: 'a'"),
        ("flat", "Expected different numbers in the column 'flat', got 2 throughout"),
        (["qed", "qed"], "Expected one or several different columns in `column`, got"),
        ([], "Expected one or several different columns in `column`, got"),
    ],
)
def test_refuses_columns(column: Any, message: str):
    with pytest.raises(ValueError, match=message):
        ValueLabel(column).fit(ROWS)


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        (0.9, r"Expected 2 numbers, of qed, logp, got \[0.9\]"),
        ([0.9], "Expected 2 numbers, of qed, logp, got"),
        ("high", "Expected 2 numbers, of qed, logp, got 'high'"),
        ({"weight": 1}, "Expected numbers of qed, logp, got weight"),
        ([0.9, math.inf], "Expected finite numbers of qed, logp, got inf"),
        ([0.9, True], "Expected finite numbers of qed, logp, got True"),
        ({"qed": "high"}, "Expected finite numbers of qed, logp, got 'high'"),
        ([None, None], "Expected a number of qed, logp, got none"),
    ],
)
def test_refuses_requests(requested: Any, message: str):
    with pytest.raises(ValueError, match=message):
        LABEL.request(requested)


@pytest.mark.parametrize(
    "change",
    [
        {"columns": []},
        {"columns": ["a", "a"]},
        {"columns": [1, 2]},
        {"means": [0.0]},
        {"means": [0.0, math.nan]},
        {"stds": [1.0, 0.0]},
        {"stds": [1.0, True]},
        {"stds": "no"},
        {"means": [0.0, 10**400]},
        {"more": 1},
    ],
)
def test_refuses_damaged_descriptions(change: dict[str, Any]):
    with pytest.raises(ValueError, match="expected"):
        FittedValueLabel.from_dict(LABEL.to_dict() | change)
