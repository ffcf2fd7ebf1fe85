"""Command line of classifiers, in a process of its own."""

import csv
import signal
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import programs
import pytest

from discrete_diffusion.checkpoints import load, load_classifier, newest_classifier

TRAINER = ["-m", "discrete_diffusion.trainer"]
TINY = [
    "backbone.hidden_size=16",
    "backbone.num_blocks=1",
    "backbone.num_heads=2",
    "batch_size=8",
    "trainer.accelerator=cpu",
    "callbacks.progress.refresh_rate=0",
]


def trainer(*arguments: str, cwd: Path, **environment: str) -> CompletedProcess[str]:
    return programs.run(*TRAINER, *arguments, cwd=cwd, **environment)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["task=noisy_classifier"], "No checkpoint under outputs: train one with `uv run trainer`"),
        (["task=clean_classifier", "generator=nowhere"], "Expected a checkpoint in nowhere, but it has no config.json"),
        (["task=noisy_clasifier"], "got noisy_clasifier: did you mean noisy_classifier?"),
        (["task=noisy_classifier", "data.rows.size=3"], "Unknown setting data.rows.size: another option"),
    ],
)
def test_errors_of_users_have_no_traceback(tmp_path: Path, arguments: list[str], message: str):
    completed = trainer(*arguments, cwd=tmp_path)
    assert completed.returncode == 2
    assert message in completed.stderr
    assert "Traceback" not in completed.stderr


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str], Path]:
    """The run of a tiny generator under outputs/, as a path from the folder of the test."""

    def made(model: str) -> Path:
        options = ["data.rows.size=300", "steps=2", "validate_every=2", f"hydra.run.dir=outputs/molecules/{model}"]
        completed = trainer(*TINY, *options, f"model={model}", cwd=tmp_path)
        assert completed.returncode == 0, completed.stderr
        return Path(f"outputs/molecules/{model}")

    return made


@pytest.mark.slow
def test_a_run_tells_what_it_trains_and_what_for(tmp_path: Path, made):
    run = made("udlm")
    completed = trainer(*TINY, "task=noisy_classifier", "steps=4", "validate_every=2", cwd=tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert "A noisy classifier for the generator outputs/molecules/udlm/checkpoint (Uniform, Cosine" in completed.stdout
    assert "validation " in completed.stdout
    assert "uv run evaluator checkpoint=outputs/molecules/udlm/checkpoint guidance=classifier_based" in completed.stdout
    (classifier,) = tmp_path.glob("outputs/molecules_noisy_classifier/*/classifier")
    assert newest_classifier(tmp_path / run, "noisy", tmp_path / "outputs") == classifier
    load_classifier(classifier).matches(load(tmp_path / run / "checkpoint"))
    found = {str(path.relative_to(classifier.parent)) for path in classifier.parent.rglob("*")}
    assert found >= {"metrics.csv", "metrics/noise_levels.csv", "noise_levels.png", "tensorboard"}


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_learned(tmp_path: Path, made):
    made("ar")
    command = [*TRAINER, *TINY, "task=prefix_classifier", "steps=100000", "validate_every=5", "hydra.run.dir=run"]
    program, started = programs.Program(*command, cwd=tmp_path), time.monotonic()
    while not (tmp_path / "run" / "noise_levels.png").exists() and time.monotonic() - started < 120:
        time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    result = program.wait(timeout=120)
    assert result.returncode == 130
    assert "uv run trainer resume=run\n" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert not (tmp_path / "run" / "classifier").exists()
    finished = trainer("resume=run", "hydra.run.dir=run", "steps=1", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert load_classifier(tmp_path / "run").kind == "prefix"


@pytest.mark.slow
def test_two_processes_train_one_classifier_and_measure_all_rows(tmp_path: Path, made):
    made("ar")
    options = ["task=hidden_classifier", "steps=2", "validate_every=2", *TINY[3:]]
    two = ["trainer.devices=2", "+trainer.strategy=ddp", "hydra.run.dir=two"]
    completed = trainer(*options, *two, cwd=tmp_path, PL_TORCH_DISTRIBUTED_BACKEND="gloo")
    assert completed.returncode == 0, completed.stderr
    load_classifier(tmp_path / "two")
    one = trainer(*options, "hydra.run.dir=one", cwd=tmp_path)
    assert one.returncode == 0, one.stderr

    def rows(run: str) -> list[str]:
        with (tmp_path / run / "metrics" / "noise_levels.csv").open(newline="") as file:
            return [row["rows"] for row in csv.DictReader(file)]

    assert rows("two") == rows("one")
