"""Command line of the trainer, in a process of its own."""

import signal
import time
from pathlib import Path
from subprocess import CompletedProcess

import programs
import pytest
import torch

from discrete_diffusion.checkpoints import load

TRAINER = ["-m", "discrete_diffusion.trainer"]
TINY = [
    "data.rows.size=300",
    "backbone.hidden_size=16",
    "backbone.num_blocks=1",
    "backbone.num_heads=2",
    "batch_size=8",
    "trainer.accelerator=cpu",
    "callbacks.progress.refresh_rate=0",
]


def trainer(*arguments: str, cwd: Path) -> CompletedProcess[str]:
    return programs.run(*TRAINER, *arguments, cwd=cwd)


def test_help_names_the_groups_and_starts_quickly(tmp_path: Path):
    completed = trainer("--help", cwd=tmp_path)
    assert completed.returncode == 0
    for word in (
        "model: ar, hf, marginal, mdlm, udlm",
        "experiment: amazon, amazon_classifier",
        "uv run trainer data=table",
        "steps:",
    ):
        assert word in completed.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["exprt", "RUN", "DST"], "trainer: Expected convert or export or settings such as NAME=VALUE, got exprt"),
        (["steps=0"], "Expected `steps` >= 1, got 0"),
        (["name=../elsewhere"], "Expected `name` to be the name of a folder, got '../elsewhere'"),
        (["preview.samples=1000000"], "Expected `preview.samples` <= 100,000"),
        (["modle=ar"], "Unknown setting modle: did you mean model?"),
        (["model=arr"], "Expected `model` to be one of ar, hf, marginal, mdlm, udlm, got arr: did you mean ar?"),
        (["experiment=qm9_udlm_qed"], "`experiment=qm9_udlm_qed` is now `experiment=qm9 model=udlm label=qed`"),
        (["data=table"], "data.path"),
        (["data=table", "data.path=nowhere.csv", "data.column=a"], "nowhere.csv does not exist"),
        (["resume=nowhere.ckpt"], "Nothing to resume at nowhere.ckpt"),
    ],
)
def test_errors_of_users_have_no_traceback(tmp_path: Path, arguments: list[str], message: str):
    completed = trainer(*arguments, cwd=tmp_path)
    assert completed.returncode == 2
    assert message in completed.stderr
    assert "Traceback" not in completed.stderr
    assert not [one for one in tmp_path.glob("**/*") if one.is_file()]


@pytest.mark.slow
@pytest.mark.parametrize(("options", "samples"), [(["validate_every=2"], True), (["preview.samples=0"], False)])
def test_every_path_that_a_run_prints_exists(tmp_path: Path, options: list[str], samples: bool):
    result = trainer(*TINY, "steps=3", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (checkpoint,) = tmp_path.glob("outputs/molecules/*/checkpoint")
    run, lines = checkpoint.parent, result.stdout.splitlines()
    assert lines[0] == f"Run folder: {run.relative_to(tmp_path)}"
    assert f"uv run evaluator checkpoint={checkpoint.relative_to(tmp_path)}" in result.stdout
    assert ("valid " in result.stdout) is samples
    start = next(i for i, line in enumerate(lines) if line.endswith(f"in {run.relative_to(tmp_path)}"))
    paths = [line.split()[-1] for line in lines[start + 1 : lines.index("", start)]]
    assert all((run / path).exists() for path in paths)
    assert ("samples" in paths) is samples
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 3
    log = (run / "trainer.log").read_text()
    for line in (lines[0], "Training 33,", "Trained in "):
        assert line in log
    load(checkpoint)


@pytest.mark.slow
def test_a_run_killed_while_it_saves_goes_on_to_the_same_weights(tmp_path: Path):
    options = [*TINY, "steps=60", "validate_every=30", "callbacks.checkpoints.every_n_train_steps=1"]
    whole = trainer(*options, "hydra.run.dir=whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    saved, started = tmp_path / "killed" / "checkpoints" / "last.ckpt", time.monotonic()
    program = programs.Program(*TRAINER, *options, "hydra.run.dir=killed", cwd=tmp_path)
    while not saved.exists() and time.monotonic() - started < 120:
        time.sleep(0.02)
    time.sleep(0.2)
    program.kill()
    program.wait()
    assert torch.load(saved, weights_only=True)["global_step"] < 60
    resumed = trainer(f"resume={saved}", "hydra.run.dir=resumed", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    expected = load(tmp_path / "whole" / "checkpoint").network.state_dict()
    for name, weight in load(tmp_path / "resumed" / "checkpoint").network.state_dict().items():
        assert torch.equal(weight, expected[name]), name


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_learned(tmp_path: Path):
    command = [*TRAINER, *TINY, "steps=100000", "validate_every=20", "hydra.run.dir=run"]
    program, started = programs.Program(*command, cwd=tmp_path), time.monotonic()
    while not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists() and time.monotonic() - started < 120:
        time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    result = program.wait(timeout=120)
    assert result.returncode == 130
    assert "uv run trainer resume=run\n" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] >= 20


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path: Path):
    options = ["steps=4", "validate_every=2", "trainer.devices=2", "+trainer.strategy=ddp", "hydra.run.dir=ddp"]
    completed = programs.run(*TRAINER, *TINY, *options, cwd=tmp_path, PL_TORCH_DISTRIBUTED_BACKEND="gloo")
    assert completed.returncode == 0, completed.stderr
    load(tmp_path / "ddp" / "checkpoint")
    samples = (tmp_path / "ddp" / "samples" / "step-000004.txt").read_text().splitlines()
    assert len(samples) == 64
