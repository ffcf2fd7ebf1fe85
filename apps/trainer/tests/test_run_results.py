"""Results of a run, from the files in its folder."""

import csv
import json
import os
from pathlib import Path

import pytest

from discrete_diffusion.checkpoints import RunResults
from discrete_diffusion.trainer.run_results import read_results


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Checkpoint folder of a run with metrics and two evaluations."""
    with (tmp_path / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "train/loss", "val/nll", "samples/valid"])
        writer.writeheader()
        for step, nll in enumerate((9.5, 7.25)):
            writer.writerow({"step": step, "train/loss": 3.0})
            writer.writerow({"step": step, "val/nll": nll})
        writer.writerow({"step": 2, "samples/valid": 0.5})
    for age, gamma in enumerate((2.0, 1.0)):
        evaluation = tmp_path / "evaluation" / str(age)
        evaluation.mkdir(parents=True)
        summary = {"training": {"property": "qed"}, "results": [{"guidance": "D-CFG", "gamma": gamma}]}
        (evaluation / "summary.json").write_text(json.dumps({**summary, "likelihood": {"perplexity": None}}))
        os.utime(evaluation / "summary.json", (1000 - age, 1000 - age))
    return tmp_path / "checkpoint"


def test_last_validation_and_newest_evaluation(checkpoint: Path):
    rows = ({"guidance": "D-CFG", "gamma": 2.0},)
    assert read_results(checkpoint) == RunResults({"val/nll": 7.25}, {"perplexity": None}, rows, "qed")


def test_without_a_run(tmp_path: Path):
    assert read_results(tmp_path / "checkpoint") == RunResults()


def test_a_damaged_summary_is_no_result(checkpoint: Path):
    (checkpoint.parent / "evaluation" / "0" / "summary.json").write_text("{")
    assert read_results(checkpoint).results == ()
