"""Evaluations that are killed and resumed."""

import csv
import errno
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from discrete_diffusion.commandline.lock import FolderLock
from discrete_diffusion.commandline.stopping import stop_on_signals
from discrete_diffusion.evaluator import evaluate as evaluation
from discrete_diffusion.evaluator import journal, record, result_pictures
from discrete_diffusion.evaluator.evaluate import evaluate
from discrete_diffusion.evaluator.generation import Generation

Configured = Callable[..., DictConfig]
Checkpoint = Callable[[str], Path]
SMALL = ["gammas=[0,1]", "samples=6", "sampling.steps=2"]


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture(scope="module")
def whole(configured: Configured, checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluation that was never stopped."""
    out = tmp_path_factory.mktemp("whole") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "draw_results", lambda *args: None)
        return evaluate(configured(f"checkpoint={checkpoint('table')}", f"output={out}", "pictures.draw=true", *SMALL))


def contents(directory: Path) -> dict[str, Any]:
    """Return the content of all CSV and JSON files of a folder, without times."""
    found: dict[str, Any] = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            found[name] = [{key: value for key, value in row.items() if "seconds" not in key} for row in rows]
        elif path.suffix == ".json":
            found[name] = _timeless(json.loads(path.read_text(encoding="utf-8")))
        elif path.is_file():
            found[name] = None
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _timeless(one) for key, one in value.items() if not key.startswith(("seconds", "started", "output"))
        }
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def kill_at_write(number: int, *, after: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Raise before or after the file of this number appears."""
    write, count = record.write, iter(range(number))

    def killing(path: Path, content: str | bytes) -> None:
        last = next(count, None) is None
        if last and not after:
            (path.parent / f".{path.name}-abcd1234").write_text("torn")
            raise Killed
        write(path, content)
        if last:
            raise Killed

    with monkeypatch.context() as patch:
        for module in (record, journal):
            patch.setattr(module, "write", killing)
        yield


# Writes: 0 settings, 1 summary with the likelihood, then for each run of the first seed its states, journal, samples,
# results, and the two summaries; later seeds have no states.
@pytest.mark.parametrize(
    ("number", "after"), [(0, False), (1, False), (2, True), (4, False), (5, False), (6, True), (14, True), (22, False)]
)
def test_an_evaluation_that_was_killed_goes_on_to_the_results_of_one_that_was_not(
    number: int,
    after: bool,
    whole: Path,
    configured: Configured,
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    out = tmp_path / "out"
    config = configured(f"checkpoint={checkpoint('table')}", f"output={out}", "pictures.draw=true", *SMALL)
    monkeypatch.setattr(evaluation, "draw_results", lambda *args: None)
    killing = kill_at_write(number, after=after, monkeypatch=monkeypatch)
    next(killing)
    with pytest.raises(Killed):
        evaluate(config)
    next(killing, None)
    evaluate(config)
    assert contents(out) == contents(whole)


def test_runs_that_are_done_are_not_drawn_again_and_torn_tables_are_repaired(
    whole: Path,
    configured: Configured,
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    out, drawn = tmp_path / "out", []
    draw = Generation.__call__

    def counting(self: Generation, *args: object, **kwargs: object) -> object:
        if len(drawn) == 3:
            raise Killed
        drawn.append(args)
        return draw(self, *args, **kwargs)

    monkeypatch.setattr(evaluation, "draw_results", lambda *args: None)
    monkeypatch.setattr(Generation, "__call__", counting)
    common = [f"output={out}", "pictures.draw=true", *SMALL]
    with pytest.raises(Killed):
        evaluate(configured(f"checkpoint={checkpoint('table')}", *common))
    results = (out / "results.csv").read_text()
    (out / "results.csv").write_text(results[:-9])
    (out / "samples" / "gamma-1_seed-1.csv").unlink()
    drawn.clear()
    evaluate(configured(f"checkpoint={checkpoint('table')}", "batch_size=5", *common))
    assert "3 of 4 runs are done" in capsys.readouterr().out
    assert len(drawn) == 1
    assert contents(out) == contents(whole)
    # A complete evaluation is not resumed.
    with pytest.raises(FileExistsError, match="is not empty"):
        evaluate(configured(f"checkpoint={checkpoint('table')}", *common))


def test_pictures_cover_the_runs_before_and_after_a_stop(
    configured: Configured, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    draw, fail = result_pictures.draw_trajectory, [True]

    def interrupted(*args: Any) -> Path:
        if fail:
            raise KeyboardInterrupt
        return draw(*args)

    # Costs in seconds are drawn, and differ.
    monkeypatch.setattr(result_pictures, "draw_sweep", lambda *args: None)
    monkeypatch.setattr(result_pictures, "draw_trajectory", interrupted)
    common = [f"checkpoint={checkpoint('table')}", "pictures.draw=true", "likelihood=false", "guidance=particles"]
    stopped = configured(*common, f"output={tmp_path / 'stopped'}", *SMALL)
    with pytest.raises(SystemExit):
        evaluate(stopped)
    fail.clear()
    for config in (stopped, configured(*common, f"output={tmp_path / 'whole'}", *SMALL)):
        evaluate(config)
    for name in ("trajectory.gif", "particles.png"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        (["seeds=[1,3]"], "seeds"),
        (["samples=7"], "samples"),
        (["sampling.steps=3"], "sampling.steps"),
        (["guidance=none", "gammas=null"], "guidance"),
        (["metrics.property._target_=builtins.len"], "metrics.property._target_"),
        (["checkpoint=mdlm"], "checkpoint.weights_sha256"),
    ],
)
def test_a_folder_of_another_configuration_is_refused(
    changes: list[str],
    name: str,
    configured: Configured,
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    common = [f"output={tmp_path / 'out'}", "likelihood=false", *SMALL]
    killing = kill_at_write(4, after=False, monkeypatch=monkeypatch)
    next(killing)
    with pytest.raises(Killed):
        evaluate(configured(f"checkpoint={checkpoint('table')}", *common))
    next(killing, None)
    before = contents(tmp_path / "out")
    model = checkpoint("mdlm" if changes == ["checkpoint=mdlm"] else "table")
    changes = [one for one in changes if not one.startswith("checkpoint")]
    with pytest.raises(FileExistsError, match=f"unfinished evaluation with another `{name}") as refused:
        evaluate(configured(f"checkpoint={model}", *common, *changes))
    assert "\n" not in str(refused.value)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGUSR1", 138)])
def test_a_signal_stops_within_a_step_and_the_printed_command_resumes(
    name: str,
    code: int,
    whole: Path,
    configured: Configured,
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    out, steps, states = tmp_path / "out", [], Generation.states

    def signaled(self: Generation, *args: Any, **kwargs: Any) -> Iterator[Any]:
        for state in states(self, *args, **kwargs):
            steps.append(state)
            if len(steps) == 8:
                signal.raise_signal(getattr(signal, name))
            yield state

    def run() -> None:
        with stop_on_signals():
            evaluate(configured(f"checkpoint={checkpoint('table')}", f"output={out}", "pictures.draw=true", *SMALL))

    monkeypatch.setattr(evaluation, "draw_results", lambda *args: None)
    monkeypatch.setattr(Generation, "states", signaled)
    with pytest.raises(SystemExit) as stop:
        run()
    assert stop.value.code == code
    assert len(steps) == 8
    printed = capsys.readouterr().out
    assert "of 4 runs saved" in printed
    assert f"output={out}" in printed
    assert (out / "report.html").is_file()
    run()
    assert contents(out) == contents(whole)


def test_a_signal_while_a_run_is_recorded_stops_when_its_files_are_written(
    configured: Configured, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write, signaled = record.write, []

    def interrupted(path: Path, content: str | bytes) -> None:
        write(path, content)
        if path.name == "results.csv" and not signaled:
            signaled.append(path)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(record, "write", interrupted)
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop, stop_on_signals():
        evaluate(configured(f"checkpoint={checkpoint('table')}", f"output={out}", "likelihood=false", *SMALL))
    assert stop.value.code == 143
    assert (out / "report.html").is_file()
    assert len(json.loads((out / "summary.json").read_text())["results"]) == 1


def test_pictures_do_not_hold_a_signal_back(
    configured: Configured, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    drawn = []

    def draws_long(*args: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        drawn.append(args)

    monkeypatch.setattr(result_pictures, "draw_sweep", draws_long)
    common = [f"checkpoint={checkpoint('table')}", f"output={tmp_path / 'out'}", "likelihood=false", *SMALL]
    with pytest.raises(SystemExit) as stop, stop_on_signals():
        evaluate(configured(*common, "pictures.draw=true"))
    assert stop.value.code == 143
    assert not drawn
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_folder_belongs_to_one_process(configured: Configured, checkpoint: Checkpoint, tmp_path: Path):
    out = tmp_path / "out"
    (out / "unfinished").mkdir(parents=True)
    config = configured(f"checkpoint={checkpoint('table')}", f"output={out}", "likelihood=false", *SMALL)
    lock = FolderLock(out / "unfinished", work=f"writing to {out}", setting="output")
    with lock, pytest.raises(ValueError, match=f"process {os.getpid()} is writing to {out}.*choose another output"):
        evaluate(config)
    evaluate(config)
    assert not (out / "unfinished").exists()


def test_a_full_disk_keeps_what_is_done_and_says_how_to_resume(
    whole: Path, configured: Configured, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, write, count = tmp_path / "out", record.write, iter(range(9))

    def full(path: Path, content: str | bytes) -> None:
        if next(count, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(evaluation, "draw_results", lambda *args: None)
    config = configured(f"checkpoint={checkpoint('table')}", f"output={out}", "pictures.draw=true", *SMALL)
    with monkeypatch.context() as patch:
        for module in (record, journal):
            patch.setattr(module, "write", full)
        with pytest.raises(OSError, match=f"The disk is full: make room, and resume with .*output={out}"):
            evaluate(config)
    evaluate(config)
    assert contents(out) == contents(whole)
