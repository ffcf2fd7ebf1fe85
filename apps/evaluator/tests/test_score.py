"""`evaluator score`: likelihoods of the sequences of a file."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from discrete_diffusion.checkpoints import load
from discrete_diffusion.checkpoints import score as score_strings
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
