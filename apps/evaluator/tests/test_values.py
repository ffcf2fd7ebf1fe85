"""Models that are conditional on numbers, in every command."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from discrete_diffusion.commandline.schema import check_settings
from discrete_diffusion.evaluator.evaluate import evaluate
from discrete_diffusion.evaluator.generate import generate
from discrete_diffusion.evaluator.schema import EvaluatorSettings, GenerateSettings, ScoreSettings
from discrete_diffusion.evaluator.score import score

EXAMPLE = r": label=\[[\d.]+, [\d.]+\] or 'label=\{qed: [\d.]+\}'"


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_an_evaluation_steers_toward_numbers(
    checkpoint: Callable[[str], Path], configured: Callable[..., DictConfig], tmp_path: Path, capsys: Any
):
    config = configured(
        f"checkpoint={checkpoint('values')}", f"output={tmp_path / 'out'}", "seeds=[1]", "label={qed: 0.6}"
    )
    evaluate(config)
    rows = rows_of(tmp_path / "out" / "results.csv")
    assert [row["condition"] for row in rows] == ["unconditional", *["qed = 0.6"] * 4]
    assert {row["property"] for row in rows} == {"qed"}
    assert all("request_error" in row for row in rows)
    samples = rows_of(tmp_path / "out" / "samples" / "gamma-2_seed-1.csv")
    assert {(row["condition"], "property" in row) for row in samples} == {("qed = 0.6", True)}
    likelihood = json.loads((tmp_path / "out" / "summary.json").read_text())["likelihood"]
    assert likelihood["nats_per_sequence"] > 0
    output = capsys.readouterr().out
    assert "qed = 0.6" in output
    assert "conditional on qed, ring_count" in output


def test_a_model_is_measured_without_a_request(
    checkpoint: Callable[[str], Path], configured: Callable[..., DictConfig], tmp_path: Path
):
    evaluate(configured(f"checkpoint={checkpoint('values')}", f"output={tmp_path / 'out'}", "seeds=[1]"))
    assert [row["condition"] for row in rows_of(tmp_path / "out" / "results.csv")] == ["unconditional"]


def composed(command: str, *overrides: str) -> DictConfig:
    with initialize_config_module("discrete_diffusion.evaluator.config", version_base="1.3"):
        return compose(command, overrides=[*overrides])


@pytest.mark.parametrize("guidance", [[], ["guidance=classifier_free", "gamma=2"]])
def test_a_file_holds_sequences_of_requested_numbers(
    checkpoint: Callable[[str], Path], tmp_path: Path, guidance: list[str]
):
    for name, label in (("low", "label=[0.2,1]"), ("high", "label={ring_count: 4, qed: 0.9}"), ("none", None)):
        options = [] if label is None else [label, *guidance]
        model = f"checkpoint={checkpoint('values')}"
        generate(composed("generate", model, f"output={tmp_path / name}.csv", "count=8", "sampling.steps=8", *options))
    low, high, none = (rows_of(tmp_path / f"{name}.csv") for name in ("low", "high", "none"))
    assert {row["label"] for row in low} == {"qed = 0.2, ring_count = 1"}
    assert {row["label"] for row in high} == {"qed = 0.9, ring_count = 4"}
    assert "label" not in none[0]
    strings = [[row["sequence"] for row in rows] for rows in (low, high, none)]
    assert strings[0] != strings[1]
    assert strings[0] != strings[2]


def test_likelihoods_are_given_the_requested_numbers(checkpoint: Callable[[str], Path], tmp_path: Path):
    (tmp_path / "a.smi").write_text("CCO\nCC(N)=O\n")
    found = []
    for i, label in enumerate(["label=null", "label={qed: 0.2}", "label={qed: 0.9}"]):
        options = [f"checkpoint={checkpoint('values')}", f"data.path={tmp_path / 'a.smi'}", label, "draws=2"]
        found.append([row["nats"] for row in score(composed("score", *options, f"output={tmp_path / str(i)}.csv"))])
    assert found[0] != found[1] != found[2]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["label=0.6"], r"Expected 2 numbers, of qed, ring_count, got \[0.6\] in `label`" + EXAMPLE),
        (["label={logp: 0.6}"], "Expected numbers of qed, ring_count, got logp in `label`" + EXAMPLE),
        (["label=high"], "Expected 2 numbers, of qed, ring_count, got 'high' in `label`" + EXAMPLE),
        (["label=each"], "Expected 2 numbers, of qed, ring_count, got 'each' in `label`" + EXAMPLE),
        (["gammas=[2]"], "Expected the numbers to steer toward in `label`" + EXAMPLE),
        (["data_labels=true"], "Expected no `data_labels` for a model that is conditional on numbers"),
    ],
)
def test_refuses_other_requests(
    checkpoint: Callable[[str], Path], configured: Callable[..., DictConfig], overrides: list[str], message: str
):
    with pytest.raises(ValueError, match=message):
        evaluate(configured(f"checkpoint={checkpoint('values')}", *overrides))


def test_a_model_with_classes_refuses_numbers(checkpoint: Callable[[str], Path], configured: Callable[..., DictConfig]):
    with pytest.raises(ValueError, match="Expected `label` to be one of 0"):
        evaluate(configured(f"checkpoint={checkpoint('udlm')}", "label=[0.6,1]"))


@pytest.mark.parametrize("label", ["0.9", "-1", "[0.9,null]", "{qed: 0.9}"])
def test_the_schema_takes_numbers(label: str):
    for command, schema in (
        ("evaluator", EvaluatorSettings),
        ("generate", GenerateSettings),
        ("score", ScoreSettings),
    ):
        required = ["data.path=a.smi"] if command == "score" else []
        check_settings(composed(command, f"label={label}", *required), schema)
