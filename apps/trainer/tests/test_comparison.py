"""Table of the jobs of a sweep."""

import csv
import json
import sys
from pathlib import Path

import pytest
from hydra.experimental.callback import Callback

from discrete_diffusion.commandline.sweeps import Job
from discrete_diffusion.trainer.__main__ import main
from discrete_diffusion.trainer.comparison import settings_that_differ

TINY = [
    *("backbone.hidden_size=16", "backbone.num_blocks=1", "backbone.num_heads=2", "data.rows.size=300"),
    *("steps=3", "batch_size=8", "preview.samples=0", "trainer.accelerator=cpu", "callbacks.progress.refresh_rate=0"),
]


@pytest.mark.filterwarnings("default")
def test_a_sweep_ends_with_a_table_of_its_jobs(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--multirun", *TINY, "hydra.sweep.dir=sweep", "lift.psi=0.5,2"]
    monkeypatch.setattr(sys, "argv", ["trainer", *options])
    returned = {}

    def keep(self, config, job_return, **rest):
        returned[config.hydra.job.num] = job_return.return_value

    monkeypatch.setattr(Callback, "on_job_end", keep)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    text = capsys.readouterr()
    assert "1 of the jobs failed (number 1)" in text.err
    with (tmp_path / "sweep" / "comparison.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    with (tmp_path / "sweep" / "0" / "metrics.csv").open(newline="") as file:
        nats = [row["val/nll"] for row in csv.DictReader(file) if row["val/nll"]][-1]
    assert returned == {0: float(nats), 1: None}
    assert first == {
        "job": "0",
        "lift.psi": "0.5",
        "nats": f"{float(nats):.4g}",
        "steps": "3",
        "status": "ok",
        "folder": "sweep/0",
    }
    assert second == {"job": "1", "lift.psi": "2", "nats": "", "steps": "", "status": "failed", "folder": ""}
    *_, header, one, two, _, last = text.out.splitlines()
    assert header.split() == list(first)
    assert one.split() == list(first.values())
    assert two.split() == ["1", "2", "failed"]
    assert last.endswith("The table is sweep/comparison.csv.")
    assert json.loads((tmp_path / "sweep" / ".jobs" / "1.json").read_text())[2] == "failed"


def test_only_settings_that_differ_are_columns():
    jobs = [
        Job(0, ["seed=1", "steps=3", "+label.max_classes=4"], "ok", "sweep/0"),
        Job(1, ["seed=2", "steps=3"], "stopped", "sweep/1"),
    ]
    assert settings_that_differ(jobs) == ["seed", "label.max_classes"]
    assert settings_that_differ(jobs[:1]) == []
