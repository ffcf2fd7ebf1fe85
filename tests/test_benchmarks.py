"""Benchmarks at small sizes: both sides of each agree."""

import json
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import accelerator, machine, report, rows  # noqa: E402


@pytest.mark.parametrize("name", rows.ROWS)
def test_the_library_and_the_textbook_agree(name):
    row = rows.ROWS[name](True)
    ours, textbook = row.ours(), row.textbook()
    assert ours.shape == textbook.shape
    assert ours.isfinite().all()
    if row.same:
        torch.testing.assert_close(ours, textbook, rtol=2e-4, atol=2e-5)
    assert machine.work(row.ours) > 0 or row.bytes_moved > 0


def test_the_baseline_has_every_row():
    assert list(report.baseline()["rows"]) == list(rows.ROWS)


def test_the_table_of_the_documentation_is_that_of_the_baseline():
    assert report.table(report.baseline()) in (ROOT / "docs" / "performance.md").read_text()


def test_the_script_for_an_accelerator_runs_at_small_sizes(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["accelerator", "--tiny"])
    accelerator.main()
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert {"training step, MDLM, DiT small, bfloat16", "sampling, MDLM", "loss and gradient, MDLM"} <= {
        one.get("row") for one in found
    }
    assert all(value > 0 for one in found for value in one.values() if type(value) is float)
