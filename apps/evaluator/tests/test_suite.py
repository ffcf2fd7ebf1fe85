"""Suite of guidance methods: one table, one frontier, and a line for each that is left out."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from discrete_diffusion.evaluator.evaluate import evaluate

SMALL = [
    "suite=guidance",
    "seeds=[1]",
    "samples=4",
    "gammas=[2]",
    "likelihood=false",
    "suite.classifier_based.samples=2",
    "suite.classifier_based_denoiser.samples=2",
    "suite.hybrid.samples=null",
    "suite.particles.samples=null",
    "suite.svdd.samples=null",
    "suite.best_of_n.samples=null",
    "guidance.particles.method.particles=3",
    "guidance.svdd.method.candidates=2",
    "guidance.best_of_n.method.n=3",
    "guidance.pplm.method.steps=1",
    "guidance.nos.method.steps=1",
]
DIFFUSION = {
    "D-CFG",
    "D-CFG (denoiser)",
    "D-CBG",
    "D-CBG (denoiser)",
    "D-CBG, first order",
    "D-CBG, first order (denoiser)",
    "D-CBG, hybrid",
    "D-CBG, trust region",
    "NOS",
    "D-CFG + D-CBG, first order",
    "particles",
    "SVDD",
    "best of n",
}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("kind", "classifiers", "expected"),
    [("mdlm", ("noisy", "hidden"), DIFFUSION), ("ar", ("prefix", "hidden"), {"D-CFG", "FUDGE", "PPLM", "best of n"})],
)
def test_it_runs_every_method_that_is_defined(
    kind: str,
    classifiers: tuple[str, ...],
    expected: set[str],
    configured: Callable[..., DictConfig],
    checkpoint: Callable[[str], Path],
    classifier: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    folder = checkpoint(kind)
    for name in classifiers:
        shutil.copytree(classifier(kind, name), tmp_path / "outputs" / name / "classifier")
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    steps = [] if kind == "ar" else ["sampling.steps=2"]
    evaluate(configured(*SMALL, *steps, f"checkpoint={folder}", f"output={out}", "pictures.draw=true"))
    rows = table(out / "results.csv")
    assert rows[0]["guidance"] == "none"
    assert [row["guidance"] for row in rows].count("none") == 1
    assert {row["guidance"] for row in rows[1:]} == expected
    assert len(rows) == 1 + len(expected)
    assert len(list((out / "samples").iterdir())) == len(rows)
    for row in rows:
        exact = row["guidance"] in ("D-CBG", "D-CBG (denoiser)")
        assert int(row["generated"]) == (2 if exact else 4)
        asks = any(name in row["guidance"] for name in ("D-CBG", "NOS", "FUDGE", "PPLM"))
        assert (int(row["classifier_rows"]) > 0) == asks, row["guidance"]
        searches = row["guidance"] in ("particles", "SVDD", "best of n")
        assert (int(row["reward_calls"]) > 0) == searches, row["guidance"]
    files = {path.name for path in out.iterdir()}
    assert {"frontier.png", "cost.png", "molecules.png", "distribution.png", "trajectory.gif"} <= files
    assert ("particles.png" in files) == (kind == "mdlm")
    content = json.loads((out / "summary.json").read_text())
    assert [row["guidance"] for row in content["results"]] == [row["guidance"] for row in rows]
    printed = capsys.readouterr().out
    assert "Left out" not in printed
    assert "guidance" in printed


def test_a_row_without_its_classifier_is_left_out_with_the_command_that_trains_it(
    configured: Callable[..., DictConfig],
    checkpoint: Callable[[str], Path],
    classifier: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    folder, out = checkpoint("unlabeled"), tmp_path / "out"
    chosen = [
        "guidance=[classifier_free,nos,first_order]",
        "suite.classifier_free_denoiser.for=left_to_right",
        f"classifier={classifier('unlabeled', 'noisy', 'label=qed')}",
    ]
    common = [f"checkpoint={folder}", f"output={out}", "sampling.steps=2"]
    small = [one for one in SMALL if not one.startswith("guidance.") or ".nos." in one]
    evaluate(configured(*small, *chosen, *common))
    guidance = [row["guidance"] for row in table(out / "results.csv")]
    assert guidance == ["none", "D-CBG, first order", "D-CBG, first order (denoiser)"]
    left_out = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Left out")]
    assert len(left_out) == 3
    assert "classifier_free, D-CFG needs labels" in left_out[0]
    assert "composed, D-CFG + D-CBG, first order needs labels" in left_out[1]
    assert "nos, NOS: No hidden classifier" in left_out[2]
    assert f"`uv run trainer task=hidden_classifier generator={folder}`" in left_out[2]

    with pytest.raises(ValueError, match="Expected a row of the suite that can be run, but all are left out"):
        evaluate(configured(*small, "guidance=nos", *common, f"output={tmp_path / 'other'}"))
    assert not (tmp_path / "other").exists()


def test_the_suite_of_classifier_based_guidance_compares_its_four_forms_at_the_same_strengths(
    configured: Callable[..., DictConfig],
    checkpoint: Callable[[str], Path],
    classifier: Callable[..., Path],
    tmp_path: Path,
):
    small = ["samples=2", "seeds=[1]", "gammas=[1,3]", "sampling.steps=2"]
    chosen = [f"checkpoint={checkpoint('mdlm')}", f"classifier={classifier('mdlm', 'noisy')}"]
    evaluate(configured("suite=classifier_based", *small, *chosen, f"output={tmp_path / 'out'}"))
    runs = [(row["guidance"], row["gamma"]) for row in table(tmp_path / "out" / "results.csv")]
    four = ("D-CBG", "D-CBG (denoiser)", "D-CBG, first order", "D-CBG, first order (denoiser)")
    assert runs == [("none", ""), *((name, gamma) for name in four for gamma in ("1.0", "3.0"))]
