"""Trainings in two processes, as torchrun starts them."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow
TINY = [
    "data.rows.size=300",
    "backbone.hidden_size=16",
    "backbone.num_blocks=1",
    "backbone.num_heads=2",
    "lr_scheduler.num_warmup_steps=0",
    "trainer.accelerator=cpu",
    "callbacks.progress.refresh_rate=0",
    "preview.samples=0",
    "steps=4",
    "validate_every=2",
    "batch_size=8",
]


def start(cwd: Path, *arguments: str, processes: int = 1, **environment: str) -> list[subprocess.Popen[str]]:
    shared = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    ranks = [{}]
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        ranks = [
            {
                "TORCHELASTIC_RUN_ID": "test",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "WORLD_SIZE": str(processes),
                "LOCAL_WORLD_SIZE": str(processes),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "GROUP_RANK": "0",
            }
            for rank in range(processes)
        ]
    return [
        subprocess.Popen(
            [sys.executable, "-m", "discrete_diffusion.trainer", *TINY, *arguments],
            cwd=cwd,
            env={**shared, **rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in ranks
    ]


def finish(started: list[subprocess.Popen[str]], code: int = 0) -> list[str]:
    outputs = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [code] * len(started), outputs
    return outputs


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def expect_close(found: Path, expected: Path) -> None:
    first = weights(expected)
    for name, weight in weights(found).items():
        torch.testing.assert_close(weight, first[name], rtol=1e-3, atol=1e-4)


def last_validation(run: Path) -> float:
    lines = (run / "metrics.csv").read_text().splitlines()
    place = lines[0].split(",").index("val/nll")
    return next(float(line.split(",")[place]) for line in reversed(lines) if line.split(",")[place])


@pytest.mark.parametrize("options", [["model=udlm"], ["model=mdlm", "objective=nelbo", "data.validation=0.004"]])
def test_two_processes_train_the_model_of_one(tmp_path: Path, options: list[str]):
    """Rows, times, noise, dropped labels and validations are the same, also with a single row of validation."""
    shared = [*options, "label_dropout=0.5", "global_batch_size=16"]
    finish(start(tmp_path, *shared, "hydra.run.dir=one"))
    outputs = finish(start(tmp_path, *shared, "hydra.run.dir=two", "trainer.devices=2", processes=2))
    assert "A step has 16 sequences: 8 × 2 processes × 1 accumulated." in outputs[0]
    assert "Training" not in outputs[1]
    expect_close(tmp_path / "two", tmp_path / "one")
    assert last_validation(tmp_path / "two") == pytest.approx(last_validation(tmp_path / "one"), rel=1e-4)


def test_two_processes_stop_and_resume_themselves(tmp_path: Path):
    """Bit for bit on as many processes, dropout included, and to float tolerance on one."""
    shared = ["steps=60", "validate_every=20", "backbone.dropout=0.1", "trainer.devices=2", "global_batch_size=16"]
    finish(start(tmp_path, *shared, "hydra.run.dir=whole", processes=2))
    started = start(tmp_path, *shared, "hydra.run.dir=run", processes=2)
    saved, begun = tmp_path / "run" / "checkpoints" / "last.ckpt", time.monotonic()
    while not saved.exists() and time.monotonic() - begun < 120:
        time.sleep(0.02)
    started[1].send_signal(signal.SIGTERM)  # one process is enough
    outputs = finish(started, 128 + signal.SIGTERM)
    assert "uv run trainer resume=run" in outputs[0]
    step = torch.load(saved, weights_only=True)["global_step"]
    assert 20 <= step < 60
    outputs = finish(start(tmp_path, *shared, "hydra.run.dir=run", processes=2, TORCHELASTIC_RESTART_COUNT="1"))
    assert "The job was restarted: resuming run/checkpoints/last.ckpt." in outputs[0]
    expected = weights(tmp_path / "whole")
    assert all(torch.equal(weight, expected[name]) for name, weight in weights(tmp_path / "run").items())


def test_a_run_of_two_processes_goes_on_in_one(tmp_path: Path):
    keep = ["callbacks.checkpoints.save_top_k=-1", "global_batch_size=16", "trainer.devices=2"]
    finish(start(tmp_path, *keep, "hydra.run.dir=two", processes=2))
    command = [sys.executable, "-m", "discrete_diffusion.trainer", "resume=two/checkpoints/step-000002.ckpt"]
    subprocess.run([*command, "trainer.devices=1", "hydra.run.dir=one"], cwd=tmp_path, check=True)
    expect_close(tmp_path / "one", tmp_path / "two")


def test_processes_that_the_settings_do_not_expect_are_refused(tmp_path: Path):
    for outputs in finish(start(tmp_path, "hydra.run.dir=run", processes=2), 2):
        assert outputs.splitlines()[-1].startswith("trainer: Expected `trainer.devices` × `trainer.num_nodes` to be")
    assert not (tmp_path / "run" / "checkpoints").exists()
