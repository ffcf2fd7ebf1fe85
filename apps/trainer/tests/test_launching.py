"""Numbers of processes and rows, and restarts by SLURM and torchrun."""

import signal
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from discrete_diffusion.trainer.generator import Generator
from discrete_diffusion.trainer.launching import count_accumulated, expect_processes, requeue

QUICK = ["steps=4", "validate_every=2", "preview.samples=0"]
SRUN = {"SLURM_JOB_ID": "12", "SLURM_STEP_ID": "0"}


def settings(*, batch_size: int = 8, global_batch_size: int | None = None, **trainer):
    trainer = {"devices": 1, "num_nodes": 1, "accelerator": "cpu", "accumulate_grad_batches": 1, **trainer}
    return OmegaConf.create({"batch_size": batch_size, "global_batch_size": global_batch_size, "trainer": trainer})


@pytest.mark.parametrize(
    ("config", "accumulated"),
    [
        (settings(), 1),
        (settings(accumulate_grad_batches=3), 3),
        (settings(global_batch_size=64), 8),
        (settings(global_batch_size=64, devices=2), 4),
        (settings(global_batch_size=64, devices="2", num_nodes=2), 2),
        (settings(global_batch_size=64, devices=[0, 3], accumulate_grad_batches=4), 4),
        (settings(global_batch_size=64, devices="auto"), 8),
        (settings(global_batch_size=64, devices="0,1,2,3"), 2),
    ],
)
def test_accumulation_follows_from_the_global_batch(config, accumulated: int):
    assert count_accumulated(config) == accumulated


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (settings(global_batch_size=20), "divisible by `batch_size` times the number of processes, got 20 for 8 × 1"),
        (settings(global_batch_size=8, devices=2), "got 8 for 8 × 2"),
        (settings(global_batch_size=64, accumulate_grad_batches=3), "of 8 or none .* = 8 × 1 × 8, got 3"),
    ],
)
def test_a_global_batch_that_does_not_split_is_refused(config, message: str):
    with pytest.raises(ValueError, match=message):
        count_accumulated(config)


@pytest.mark.parametrize(
    ("environment", "config"),
    [
        ({}, settings(devices=2)),
        ({"WORLD_SIZE": "4"}, settings()),
        ({"MASTER_ADDR": "10.0.0.1", "NODE_RANK": "1"}, settings(num_nodes=2)),
        ({"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "4"}, settings(devices=2, num_nodes=2)),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, settings(devices=2)),
        ({**SRUN, "SLURM_NTASKS": "4"}, settings(devices=2, num_nodes=2)),
        ({"SLURM_JOB_ID": "12", "SLURM_NTASKS": "4"}, settings()),
        ({"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "bash"}, settings(devices=2)),
    ],
)
def test_processes_that_agree_with_the_settings(environment: dict[str, str], config):
    expect_processes(config, environment)


@pytest.mark.parametrize(
    ("environment", "config", "message"),
    [
        ({"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2"}, settings(), "of torchrun, which is 2, got 1 × 1"),
        ({}, settings(num_nodes=2), "`trainer.num_nodes` of 1 without a launcher, got 2"),
        ({"LOCAL_RANK": "0", "WORLD_SIZE": "2"}, settings(), "of LOCAL_RANK and WORLD_SIZE, which is 2, got 1 × 1"),
        ({**SRUN, "SLURM_NTASKS": "2"}, settings(), "of srun, which is 2, got 1 × 1"),
        ({**SRUN, "SLURM_NTASKS": "1"}, settings(devices=2), "of srun, which is 1, got 2 × 1"),
        ({"SLURM_NTASKS": "2"}, settings(devices=2), "of this job without srun, which is 1, got 2 × 1"),
    ],
)
def test_processes_that_disagree_are_refused(environment: dict[str, str], config, message: str):
    with pytest.raises(ValueError, match=message):
        expect_processes(config, environment)


def test_accumulated_batches_train_as_one_batch(run, tmp_path: Path):
    options = [*QUICK, "lr_scheduler.num_warmup_steps=0", "~callbacks.average", "label_dropout=0.5"]
    whole = run(tmp_path / "whole", *options, "batch_size=16").network.state_dict()
    parts = run(tmp_path / "parts", *options, "batch_size=4", "global_batch_size=16").network.state_dict()
    for name, weight in whole.items():
        torch.testing.assert_close(parts[name], weight, rtol=1e-3, atol=1e-4)
    steps = [(tmp_path / name / "metrics.csv").read_text().count("\n") for name in ("whole", "parts")]
    assert steps[0] == steps[1]


def test_another_global_batch_is_refused_beside_resume(run, tmp_path: Path):
    run(tmp_path / "run", *QUICK)
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["DataModule"]["global_batch_size"] = 32  # as of four devices
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match="Expected 32 rows in a step, as in the run that is resumed, got 8"):
        run(tmp_path / "next", f"resume={path}", "steps=5")
    for rows in (8, 32):
        run(tmp_path / str(rows), f"resume={path}", "steps=5", f"global_batch_size={rows}")
        step = torch.load(tmp_path / str(rows) / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
        assert step == 5


@pytest.mark.parametrize("variable", ["SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"])
@pytest.mark.filterwarnings("default")
def test_a_restarted_job_resumes_its_run(run, tmp_path: Path, monkeypatch, capsys, variable: str):
    expected = run(tmp_path / "whole", *QUICK).network.state_dict()
    original = Generator.training_step

    def stops(self, batch):
        if self.trainer.global_step == 2:
            signal.raise_signal(signal.SIGTERM)
        return original(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Generator, "training_step", stops)
        with pytest.raises(SystemExit):
            run(tmp_path / "run", *QUICK)
    monkeypatch.setenv(variable, "1")
    found = run(tmp_path / "run", *QUICK).network.state_dict()
    assert (
        f"The job was restarted: resuming {tmp_path / 'run' / 'checkpoints' / 'last.ckpt'}." in capsys.readouterr().out
    )
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())
    with pytest.raises(ValueError, match="holds a run: resume it"):
        run(tmp_path / "run", *QUICK, "batch_size=4")


@pytest.mark.filterwarnings("default")
def test_a_job_restarted_before_its_first_checkpoint_begins_anew(run, tmp_path: Path, monkeypatch):
    def fails(self, batch):
        raise RuntimeError("the node is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Generator, "training_step", fails)
        with pytest.raises(RuntimeError, match="the node is gone"):
            run(tmp_path / "run", *QUICK)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run(tmp_path / "run", *QUICK)
    assert (tmp_path / "run" / "checkpoint" / "config.json").is_file()


@pytest.mark.parametrize(
    ("environment", "outcome", "requested"),
    [
        ({}, None, ""),
        ({"SLURM_JOB_ID": "12"}, "Job 12 is requeued, and resumes this run.", "requeue 12\n"),
        (
            {"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "11", "SLURM_ARRAY_TASK_ID": "3"},
            "Job 11_3 is requeued, and resumes this run.",
            "requeue 11_3\n",
        ),
    ],
)
def test_a_job_is_requeued(configure, tmp_path: Path, monkeypatch, environment, outcome, requested: str):
    stub, calls = tmp_path / "scontrol", tmp_path / "calls"
    stub.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    configure("hydra.run.dir=run", output=tmp_path)
    assert requeue(Path("run"), environment) == outcome
    assert (calls.read_text() if calls.exists() else "") == requested


def test_a_job_that_is_not_requeued_says_why(configure, tmp_path: Path, monkeypatch):
    environment = {"SLURM_JOB_ID": "12"}
    configure(output=tmp_path)
    assert requeue(Path("run"), environment) == (
        "Job 12 is not requeued: it would train in a new folder. Set hydra.run.dir=run."
    )
    configure("hydra.run.dir=run", output=tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert requeue(Path("run"), environment) == "Job 12 is not requeued: there is no scontrol."
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho 'Requested operation is disabled' >&2\nexit 1\n")
    (tmp_path / "scontrol").chmod(0o755)
    assert requeue(Path("run"), environment) == "Job 12 is not requeued: Requested operation is disabled"
