"""Runs that a signal stops at any moment, and that reach the weights of an uninterrupted run."""

import errno
import os
import signal
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import WeightAveraging

from discrete_diffusion.trainer.checkpointing import Checkpoints, WholeFiles
from discrete_diffusion.trainer.classifier import Classifier
from discrete_diffusion.trainer.generator import Generator
from discrete_diffusion.trainer.muon import Muon
from discrete_diffusion.trainer.saved_states import newest_whole

OPTIONS = ["steps=5", "validate_every=2", "preview.samples=2", "backbone.dropout=0.1", "label_dropout=0.5"]
MOMENTS: dict[str, tuple[Any, str, int]] = {
    "forward": (Generator, "training_step", 3),
    "optimizer": (Muon, "step", 3),
    "average": (WeightAveraging, "on_train_batch_end", 3),
    "save": (WholeFiles, "save_checkpoint", 1),
    "validation": (Generator, "validation_step", 1),
    "first step": (Generator, "training_step", 1),
    "last step": (Generator, "training_step", 5),
}


@pytest.fixture
def interrupt(monkeypatch) -> Callable[..., None]:
    """Send a signal to this process before a call of a method and after it."""

    def interrupt(owner: type, name: str, call: int, *signals: int) -> None:
        original, calls = getattr(owner, name), iter(range(1, 10_000))

        @wraps(original)  # Lightning reads the names of the arguments
        def interrupted(*args: Any, **kwargs: Any) -> Any:
            mine = next(calls) == call
            if mine:
                os.kill(os.getpid(), signals[0])
            result = original(*args, **kwargs)
            if mine and len(signals) > 1:
                os.kill(os.getpid(), signals[1])
            return result

        monkeypatch.setattr(owner, name, interrupted)

    return interrupt


def expect_equal(found: torch.nn.Module, expected: torch.nn.Module) -> None:
    for name, weight in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], weight), name


@pytest.fixture(scope="module")
def finished() -> dict[tuple[str, ...], torch.nn.Module]:
    return {}


@pytest.fixture
def whole(run, tmp_path: Path, finished) -> Callable[..., torch.nn.Module]:
    """The network of a run that nothing stops; each is trained once."""

    def whole(*options: str) -> torch.nn.Module:
        if options not in finished:
            finished[options] = run(tmp_path / "whole", *OPTIONS, *options).network
        return finished[options]

    return whole


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.filterwarnings("default")
def test_a_run_stopped_at_any_moment_reaches_the_same_weights(run, whole, interrupt, tmp_path: Path, moment: str):
    expected = whole()
    interrupt(*MOMENTS[moment], signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", *OPTIONS)
    expect_equal(run(tmp_path / "run", f"resume={tmp_path / 'run'}").network, expected)


@pytest.mark.parametrize(
    "options",
    [
        ("trainer.accumulate_grad_batches=3",),
        ("num_workers=2", "preview.samples=0"),
        ("callbacks.average._target_=discrete_diffusion.trainer.weight_average.WarmupEMA",),
        ("~callbacks.average",),
        ("model=ar", "optimizer=adamw"),
    ],
    ids=["accumulation", "workers", "warm-up", "no average", "adamw"],
)
@pytest.mark.filterwarnings("default")
def test_so_does_one_with_other_options(run, whole, interrupt, tmp_path: Path, options: tuple[str, ...]):
    expected = whole(*options)
    interrupt(Generator, "training_step", 5, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", *OPTIONS, *options, "callbacks.checkpoints.every_n_train_steps=100")
    expect_equal(run(tmp_path / "run", f"resume={tmp_path / 'run'}").network, expected)


@pytest.mark.filterwarnings("default")
def test_a_stop_in_a_validation_saves_the_weights_of_the_training(run, whole, interrupt, tmp_path: Path):
    expected = whole()
    interrupt(Generator, "validation_step", 1, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", *OPTIONS, "callbacks.checkpoints.every_n_train_steps=100", "batch_size=8")
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2
    expect_equal(run(tmp_path / "run", f"resume={tmp_path / 'run'}").network, expected)


@pytest.mark.filterwarnings("default")
def test_samples_are_left_at_once(run, whole, interrupt, tmp_path: Path):
    from discrete_diffusion.processes import PredictorCorrector

    expected = whole()
    interrupt(PredictorCorrector, "__call__", 2, signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path / "run", *OPTIONS)
    assert stopped.value.code == 143
    assert not list((tmp_path / "run" / "samples").glob("*"))
    expect_equal(run(tmp_path / "run", f"resume={tmp_path / 'run'}").network, expected)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP"])
@pytest.mark.filterwarnings("default")
def test_every_signal_saves_and_ends_with_its_exit_code(run, interrupt, tmp_path: Path, name: str, capsys):
    number = getattr(signal, name)
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, number)}
    interrupt(Generator, "training_step", 1, number)
    with pytest.raises((SystemExit, KeyboardInterrupt)) as stopped:
        run(tmp_path / "run", *OPTIONS)
    assert name == "SIGINT" or stopped.value.code == 128 + number
    assert newest_whole(tmp_path / "run").path.name == "last.ckpt"
    assert f"Stopped at step 1 by {name}.\nResume with:\n  uv run trainer resume=" in capsys.readouterr().out
    assert {one: signal.getsignal(one) for one in before} == before


@pytest.mark.filterwarnings("default")
def test_an_error_in_a_step_does_not_save_a_part_of_it(run, whole, tmp_path: Path, monkeypatch):
    expected = whole()
    update, calls = WeightAveraging.on_train_batch_end, iter(range(1, 100))

    def fails(self, *args: Any) -> None:
        if next(calls) == 3:
            raise RuntimeError("a bug")
        update(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(WeightAveraging, "on_train_batch_end", fails)
        with pytest.raises(RuntimeError, match="a bug"):
            run(tmp_path / "run", *OPTIONS)
    assert torch.load(newest_whole(tmp_path / "run").path, weights_only=True)["global_step"] == 2
    expect_equal(run(tmp_path / "run", f"resume={tmp_path / 'run'}").network, expected)


@pytest.mark.filterwarnings("default")
def test_accumulated_steps_are_saved_between_two_of_them(run, whole, tmp_path: Path, monkeypatch):
    """The first batch of a step after a resumption has the step number of the checkpoint before."""
    options = ("trainer.accumulate_grad_batches=3",)
    expected = whole(*options)
    run(tmp_path / "run", *OPTIONS, *options, "callbacks.checkpoints.save_top_k=-1")
    saved = []
    save = WholeFiles.save_checkpoint

    def noted(self, checkpoint: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        saved.append(checkpoint["global_step"])
        save(self, checkpoint, *args, **kwargs)

    monkeypatch.setattr(WholeFiles, "save_checkpoint", noted)
    resume = f"resume={tmp_path / 'run' / 'checkpoints' / 'step-000002.ckpt'}"
    expect_equal(run(tmp_path / "next", resume).network, expected)
    assert set(saved) == {4, 5}


@pytest.mark.parametrize("moment", ["forward", "average"])
@pytest.mark.filterwarnings("default")
def test_a_classifier_stopped_and_resumed_is_the_same(generator_run, classify, interrupt, tmp_path: Path, moment: str):
    options = ["steps=4", "validate_every=2", "backbone.dropout=0.1"]
    expected = classify(tmp_path / "whole", "noisy", generator_run("udlm"), *options).network
    owner, name, call = MOMENTS[moment]
    interrupt(Classifier if owner is Generator else owner, name, call, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        classify(tmp_path / "run", "noisy", generator_run("udlm"), *options)
    expect_equal(classify(tmp_path / "run", "noisy", None, f"resume={tmp_path / 'run'}").network, expected)
    table = Path("metrics", "noise_levels.csv")
    assert (tmp_path / "run" / table).read_text() == (tmp_path / "whole" / table).read_text()


@pytest.mark.filterwarnings("default")
def test_a_checkpoint_is_saved_every_so_many_minutes(run, tmp_path: Path, monkeypatch):
    saved = []
    save = Checkpoints._save_last_checkpoint

    def noted(self, trainer: Any, candidates: Any) -> None:
        saved.append(trainer.global_step)
        save(self, trainer, candidates)

    monkeypatch.setattr(Checkpoints, "_save_last_checkpoint", noted)
    options = ["steps=4", "validate_every=100", "preview.samples=0"]
    run(tmp_path / "often", *options, "callbacks.checkpoints.every_n_minutes=0")
    assert saved == [1, 2, 3, 4]
    saved.clear()
    run(tmp_path / "seldom", *options)
    assert saved == [4]


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path, monkeypatch):
    path = tmp_path / "checkpoints" / "last.ckpt"
    WholeFiles().save_checkpoint({"global_step": 1}, path)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        WholeFiles().save_checkpoint({"global_step": 2}, path)
    assert torch.load(path)["global_step"] == 1
    assert list(path.parent.iterdir()) == [path]


def test_a_disk_that_is_full_within_a_checkpoint_is_reported_as_such(tmp_path: Path):
    resource = pytest.importorskip("resource")
    path, limits = tmp_path / "last.ckpt", resource.getrlimit(resource.RLIMIT_FSIZE)
    WholeFiles().save_checkpoint({"global_step": 1}, path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            WholeFiles().save_checkpoint({"weights": [torch.zeros(20_000) for _ in range(5)]}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert torch.load(path)["global_step"] == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.filterwarnings("default")
def test_a_full_disk_names_the_command_that_resumes_the_run(run, whole, tmp_path: Path, monkeypatch):
    expected, save, calls = whole(), WholeFiles.save_checkpoint, []

    @wraps(save)
    def fills(self, *args: Any, **kwargs: Any) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, *args, **kwargs)

    monkeypatch.setattr(WholeFiles, "save_checkpoint", fills)
    message = f"^The disk is full: make room, and resume with `uv run trainer resume={tmp_path / 'run'}"
    with pytest.raises(OSError, match=message):
        run(tmp_path / "run", *OPTIONS)
    expect_equal(run(tmp_path / "new", f"resume={tmp_path / 'run'}").network, expected)
