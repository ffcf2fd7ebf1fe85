"""Suite of samplers: one table, one picture, and a line for each that is left out."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from discrete_diffusion.checkpoints import load
from discrete_diffusion.evaluator.comparison import diversity
from discrete_diffusion.evaluator.evaluate import evaluate
from discrete_diffusion.evaluator.sampler import read_samplers
from discrete_diffusion.evaluator.sweep import Sweep, build_sweep

Configured = Callable[..., DictConfig]
Checkpoint = Callable[[str], Path]
SMALL = ["suite=samplers", "seeds=[1]", "samples=4", "sampling.steps=3"]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def built(config: DictConfig, folder: Path, report: Callable[[str], None] = print) -> Sweep:
    return build_sweep(config, load(folder), folder, torch.device("cpu"), report)


def test_it_writes_one_table_and_one_picture(
    configured: Configured, checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    evaluate(configured(*SMALL, f"checkpoint={checkpoint('mdlm')}", f"output={out}", "pictures.draw=true"))
    rows = table(out / "results.csv")
    samplers = {row["sampler"] for row in rows}
    assert samplers >= {"ancestral", "predictor corrector", "trapezoidal", "first hitting", "path planning"}
    assert not samplers & {"gibbs corrected", "settling", "uniformization"}
    assert len({(row["sampler"], row["setting"]) for row in rows}) == len(rows)
    by_steps = [row for row in rows if row["sampler"] == "ancestral"]
    assert [(row["setting"], row["steps"]) for row in by_steps] == [("steps=3", "3")]
    for row in rows:
        assert float(row["evaluations_per_sample"]) == int(row["network_evaluations"]) / 4
        assert 0 < float(row["distinct_share"]) <= 1
        assert float(row["entropy"]) >= 0
    assert len(list((out / "samples").iterdir())) == len(rows)
    files = {path.name for path in out.iterdir()}
    assert {"samplers.png", "report.html"} <= files
    assert "frontier.png" not in files
    report = (out / "report.html").read_text()
    assert "samplers.png" in report
    assert "predictor corrector" in report
    assert json.loads((out / "summary.json").read_text())["training_diversity"]["entropy"] > 0
    printed = capsys.readouterr().out
    assert "Left out" not in printed
    assert "steps=3" in printed


def test_a_model_that_carries_statistics_needs_no_training_rows(
    configured: Configured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    evaluate(configured(*SMALL, "checkpoint=qm9-mdlm-small", f"output={out}", "pictures.draw=true"))
    assert (out / "samplers.png").is_file()
    assert "training_diversity" not in json.loads((out / "summary.json").read_text())
    printed = capsys.readouterr().out
    assert "predictor corrector" in printed
    assert "training data  " not in printed


def test_other_noise_has_other_samplers(configured: Configured, checkpoint: Checkpoint):
    points = built(configured(*SMALL), checkpoint("udlm")).points()
    assert {point.sampler for point in points} == {
        *("ancestral", "predictor corrector", "gibbs corrected", "settling", "trapezoidal", "uniformization"),
    }


def test_it_crosses_samplers_with_guidance_and_leaves_out_those_without_a_kernel(
    configured: Configured, checkpoint: Checkpoint
):
    lines: list[str] = []
    common = [*SMALL, "gammas=[0,2]"]
    points = built(configured(*common, "guidance=classifier_free"), checkpoint("mdlm"), lines.append).points()
    assert {point.gamma for point in points if point.sampler == "remasking"} == {0.0, 2.0}
    assert "first hitting" not in {point.sampler for point in points}
    (line,) = [line for line in lines if line.startswith("Left out: first hitting")]
    assert "guidance.classifier_free.level=denoiser" in line
    points = built(
        configured(*common, "guidance=classifier_free", "guidance.classifier_free.level=denoiser"), checkpoint("mdlm")
    ).points()
    assert {point.gamma for point in points if point.sampler == "first hitting"} == {0.0, 2.0}


def test_a_sampler_of_the_suite_draws_what_it_draws_alone(configured: Configured, checkpoint: Checkpoint):
    together = built(configured("suite=samplers", "samples=4"), checkpoint("mdlm"))
    alone = built(configured("guidance=none", "samples=4", "sampler=first_hitting", "sampler.k=2"), checkpoint("mdlm"))
    (compared,) = [point for point in together.points() if (point.sampler, point.setting) == ("first hitting", "k=2")]
    (single, *_) = alone.points()
    assert compared.file_name() == "first-hitting_k-2_unguided"
    assert compared.title() == "first hitting, k=2, unconditional"
    drawn = [
        sweep.generate(point, 5, point.labels(None, 5), lambda rows: None).strings
        for sweep, point in ((together, compared), (alone, single))
    ]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 4


def test_settings_change_as_configured(configured: Configured, checkpoint: Checkpoint):
    model = load(checkpoint("mdlm"))
    config = configured("suite=samplers", "samplers.first_hitting.vary.k=[3]", "samplers.remasking.vary.steps=[2,4]")
    found = read_samplers(config, model, None)
    (hitting,) = [one for one in found if one.name == "first hitting"]
    assert (hitting.setting, hitting.steps, hitting.sampler.k) == ("k=3", None, 3)  # type: ignore[attr-defined]
    remasking = [one for one in found if one.name == "remasking"]
    assert [(one.steps, one.sampler.steps) for one in remasking] == [(2, 2), (4, 4)]  # type: ignore[attr-defined]
    assert remasking[0].sampler.lift.keywords["rate"].eta == 0.1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "override", "message"),
    [
        ("ar", "samples=2", "Expected no `samplers`: this model is sampled from left to right"),
        ("mdlm", "sampler=remasking", "Expected no `sampler` beside `samplers`"),
        ("mdlm", "samplers.ancestral.for=all", "`samplers.ancestral.for` to be one of any, masks, unmasked, got all"),
        ("mdlm", "++samplers.first_hitting.vary.steps=[2]", "at most one setting under `samplers.first_hitting.vary`"),
        ("mdlm", "++samplers.own={for: any}", "Expected `sampler`, `for` and `vary` under `samplers.own`"),
    ],
)
def test_a_wrong_comparison_is_refused(
    kind: str, override: str, message: str, configured: Configured, checkpoint: Checkpoint, tmp_path: Path
):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=message):
        evaluate(configured("suite=samplers", override, f"checkpoint={checkpoint(kind)}", f"output={out}"))
    assert not out.exists()


def test_diversity_ignores_special_tokens_and_counts_repetition(checkpoint: Checkpoint):
    tokenizer = load(checkpoint("mdlm")).tokenizer
    pad = tokenizer.pad_token_id
    tokens = [one for one in range(len(tokenizer)) if one not in tokenizer.all_special_ids][:4]
    varied = diversity(torch.tensor([[*tokens, pad], [*tokens[::-1], pad]]), tokenizer)
    assert varied["entropy"] == pytest.approx(torch.tensor(4.0).log().item())
    assert (varied["distinct_4grams"], varied["distinct_share"]) == (1.0, 1.0)
    repeated = diversity(torch.tensor([[tokens[0]] * 5] * 2), tokenizer)
    assert (repeated["entropy"], repeated["distinct_4grams"], repeated["distinct_share"]) == (0.0, 0.25, 0.5)
