"""`evaluator score`: likelihoods of the sequences of a file."""

import csv
import errno
import math
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from discrete_diffusion.checkpoints import Scorer, load
from discrete_diffusion.checkpoints import score as score_strings
from discrete_diffusion.commandline.lock import OutputLock
from discrete_diffusion.commandline.stopping import stop_on_signals
from discrete_diffusion.evaluator.partial_scores import PartialScores
from discrete_diffusion.evaluator.score import score
from discrete_diffusion.guidance import HighestConfidence

Checkpoint = Callable[[str], Path]
STRINGS = ["CCO", "c1ccccc1", "CC(N)=O"]


def configured(*overrides: str) -> DictConfig:
    with initialize_config_module("discrete_diffusion.evaluator.config", version_base="1.3"):
        return compose("score", overrides=[*overrides])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.smi"
    path.write_text("CCO one\nc1ccccc1 two\nXYZ three\n" + "C" * 80 + " four\nCC(N)=O five\n")
    return path


@pytest.mark.parametrize("kind", ["udlm", "mdlm", "marginal", "ar"])
def test_each_string_gets_its_likelihood_and_unreadable_ones_none(
    kind: str, checkpoint: Checkpoint, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "scores.csv"
    rows = score(configured(f"checkpoint={checkpoint(kind)}", f"data.path={file}", f"output={out}"))
    with out.open() as written:
        assert [row["smiles"] for row in csv.DictReader(written)] == [row["smiles"] for row in rows]
    scored = [row["nats"] is not None for row in rows]
    assert scored == [True, True, False, False, True]
    assert all((row["standard_error"] == 0) == (kind == "ar") for row in rows if row["nats"] is not None)
    assert [row["tokens"] for row in rows] == [5, 10, 0, 0, 9]
    printed = capsys.readouterr().err
    assert "3 sequences" in printed
    assert "(row 3)" in printed
    assert "(row 4)" in printed
    assert ("an upper bound" in printed) == (kind != "ar")


def test_the_mean_of_many_draws_is_the_likelihood_of_the_objective(checkpoint: Checkpoint):
    model = load(checkpoint("mdlm"))
    scores = score_strings(model, STRINGS, draws=400, per_token=True)
    again = score_strings(model, STRINGS, draws=400, seed=1)
    gap = (scores.nats - again.nats).abs()
    assert (gap < 5 * (scores.standard_error**2 + again.standard_error**2).sqrt()).all()
    assert scores.per_token is not None
    torch.testing.assert_close(scores.per_token.sum(-1), scores.nats)


def test_labels_change_the_likelihood(checkpoint: Checkpoint, file: Path):
    model = load(checkpoint("ar"))
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    low, high = (score_strings(model, STRINGS, y=torch.full((3,), label)).nats for label in (0, 1))
    assert not torch.equal(low, high)


def test_an_order_gives_the_exact_likelihood_of_masked_diffusion(checkpoint: Checkpoint):
    model = load(checkpoint("mdlm"))
    scores = score_strings(model, STRINGS, order=HighestConfidence())
    assert scores.exact
    assert scores.standard_error.eq(0).all()
    assert torch.equal(scores.nats, score_strings(model, STRINGS, order=HighestConfidence(), seed=5).nats)
    with pytest.raises(ValueError, match="only masked diffusion"):
        score_strings(load(checkpoint("udlm")), STRINGS, order=HighestConfidence())


def test_two_models_are_compared_on_the_same_rows(
    checkpoint: Checkpoint, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    first, second = checkpoint("ar"), checkpoint("unlabeled_ar")
    out = f"output={tmp_path / 'a.jsonl'}"
    rows = score(configured(f"checkpoint={first}", f"compare={second}", f"data.path={file}", out, "tokens=true"))
    gap = [row["other_nats"] - row["nats"] for row in rows if row["nats"] is not None]
    assert f"second - first: {sum(gap) / 3:+.3f}" in capsys.readouterr().err
    assert math.isclose(sum(rows[0]["token_nats"]), rows[0]["nats"], rel_tol=1e-4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["draws=0"], "Expected an integer `draws` >= 1, got 0"),
        (["order=random"], "Expected `order` to be one of highest_confidence"),
        (["order=lowest_entropy", "tokens=true"], "Expected no `tokens`"),
        (["output=a.fasta"], "Expected `output` to end in .csv"),
        (["data.column=nothing"], "Expected a column 'nothing'"),
        (["label=7"], "Expected `label` to be one of"),
    ],
)
def test_what_cannot_be_done_is_refused(checkpoint: Checkpoint, file: Path, overrides: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        score(configured(f"checkpoint={checkpoint('udlm')}", f"data.path={file}", *overrides))


@pytest.mark.parametrize(
    ("rows", "message"), [("XYZ\n", "symbols that the tokenizer does not know"), ("", "got 1 that are blank")]
)
def test_a_file_without_a_readable_string_is_refused(checkpoint: Checkpoint, tmp_path: Path, rows: str, message: str):
    path = tmp_path / "a.csv"
    path.write_text("smiles,a\n" + (f"{rows.strip()},1\n" if rows else ",1\n"))
    with pytest.raises(ValueError, match=message):
        score(configured(f"checkpoint={checkpoint('udlm')}", f"data.path={path}"))


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Call a function in place of a batch with this number, once."""

    def stop(number: int, call: Callable[[], None]) -> None:
        scored, numbers = Scorer.__call__, iter(range(number))

        def batch(self: Scorer, rows: range) -> object:
            if next(numbers, None) is None:
                monkeypatch.setattr(Scorer, "__call__", scored)
                call()
            return scored(self, rows)

        monkeypatch.setattr(Scorer, "__call__", batch)

    return stop


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("options", [[], ["tokens=true", "draws=1"]])
def test_a_stopped_run_goes_on_and_its_file_is_that_of_a_whole_run(
    options: list[str],
    checkpoint: Checkpoint,
    file: Path,
    tmp_path: Path,
    stopping: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
):
    models = [f"checkpoint={checkpoint('mdlm')}", f"compare={checkpoint('udlm')}"]
    common = [*models, f"data.path={file}", "batch_size=1", *options]
    score(configured(*common, f"output={tmp_path / 'whole.csv'}"))
    printed = capsys.readouterr().err.splitlines()[-3:]
    out = tmp_path / "out.csv"
    stopped, progress = configured(*common, f"output={out}"), tmp_path / "out.csv.progress"
    for number, done in ((2, 2), (2, 4)):
        stopping(number, interrupt)
        with pytest.raises(KeyboardInterrupt):
            score(stopped)
        assert f"Stopped after {done} of 10 scores" in capsys.readouterr().err
        assert not out.exists()
        # What a crash in the middle of a write may leave.
        with progress.open("a") as torn:
            torn.write('{"model": "1", "na')
    for other in ("seed=1", "draws=4", f"compare={checkpoint('marginal')}"):
        with pytest.raises(FileExistsError, match=r"was begun with another `(seed|draws|compare\.weights_sha256)`"):
            score(configured(*common, f"output={out}", other))
    file.with_name("b.smi").write_text("CCN one\n")
    with pytest.raises(FileExistsError, match=r"was begun with another `content of data\.path`"):
        score(configured(*common, f"output={out}", f"data.path={file.with_name('b.smi')}"))
    score(stopped)
    assert capsys.readouterr().err.splitlines()[-3:] == printed
    assert out.read_text() == (tmp_path / "whole.csv").read_text()
    assert not progress.exists()
    with pytest.raises(FileExistsError, match="Expected `output` to be a new file"):
        score(stopped)


def test_a_signal_and_a_full_disk_keep_the_scores_so_far(
    checkpoint: Checkpoint,
    file: Path,
    tmp_path: Path,
    stopping: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    out = tmp_path / "new" / "out.csv"
    config = configured(f"checkpoint={checkpoint('mdlm')}", f"data.path={file}", "batch_size=1", f"output={out}")
    stopping(1, partial(signal.raise_signal, signal.SIGTERM))
    with pytest.raises(SystemExit) as stop, stop_on_signals():
        score(config)
    assert stop.value.code == 143
    assert "Resume with the same command" in capsys.readouterr().err
    kept, add = (out.parent / "out.csv.progress").read_text(), PartialScores.add

    def full(self: PartialScores, *args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PartialScores, "add", full)
    with pytest.raises(OSError, match="The disk is full: make room, and the same command goes on with"):
        score(config)
    assert (out.parent / "out.csv.progress").read_text() == kept
    monkeypatch.setattr(PartialScores, "add", add)
    assert [row["nats"] is not None for row in score(config)] == [True, True, False, False, True]


def test_a_refused_run_leaves_no_file(checkpoint: Checkpoint, file: Path, tmp_path: Path):
    out = tmp_path / "new" / "out.csv"
    with pytest.raises(ValueError, match="Expected `label`"):
        score(configured(f"checkpoint={checkpoint('udlm')}", f"data.path={file}", f"output={out}", "label=7"))
    assert not out.parent.exists()


def test_a_second_run_with_the_same_output_is_refused(checkpoint: Checkpoint, file: Path, tmp_path: Path):
    out = tmp_path / "out.csv"
    with (
        OutputLock(out),
        pytest.raises(ValueError, match=rf"process {os.getpid()} is writing to .*out.csv: .* another output\."),
    ):
        score(configured(f"checkpoint={checkpoint('udlm')}", f"data.path={file}", f"output={out}"))
    assert not list(tmp_path.glob("*out.csv*"))
