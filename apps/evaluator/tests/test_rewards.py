"""Searches by a reward: any function of the decoded sample, called once for each string."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from discrete_diffusion.checkpoints import load
from discrete_diffusion.datasets import decode
from discrete_diffusion.evaluator.evaluate import evaluate
from discrete_diffusion.evaluator.rewards import Reward

Configured = Callable[..., DictConfig]
Checkpoint = Callable[[str], Path]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_it_is_the_function_of_the_decoded_string_over_its_scale(checkpoint: Checkpoint):
    model = load(checkpoint("udlm"))
    x0 = model.data().validation["input_ids"][:][:4]
    scored: list[str] = []

    def length(string: str) -> int:
        scored.append(string)
        return len(string)

    reward = Reward(model.tokenizer, length, scale=2.0)
    strings = decode(model.tokenizer, x0)
    assert reward(x0).tolist() == [len(string) / 2 for string in strings]
    assert reward(torch.cat([x0, x0])).shape == (8,)
    assert scored == list(dict.fromkeys(strings))
    assert reward.calls == len(scored)
    reward.reset()
    assert reward.calls == 0


@pytest.mark.parametrize(
    ("function", "accepts"), [(lambda s: None, None), (lambda s: math.nan, None), (lambda s: 1.0, lambda s: False)]
)
def test_samples_without_a_reward_have_the_reward_of_the_setting(
    function: Callable, accepts: Callable | None, checkpoint: Checkpoint
):
    tokenizer, x0 = load(checkpoint("udlm")).tokenizer, torch.tensor([[0, 5, 1]])
    options = {} if accepts is None else {"accepts": accepts}
    assert Reward(tokenizer, function, **options)(x0).tolist() == [-math.inf]
    assert Reward(tokenizer, function, invalid=-3.0, scale=7.0, **options)(x0).tolist() == [-3.0]


def test_best_of_n_keeps_the_best_and_says_what_it_cost(configured: Configured, checkpoint: Checkpoint, tmp_path: Path):
    out = tmp_path / "out"
    own = ["reward.function._target_=builtins.len", "metrics=strings", "guidance.best_of_n.method.n=6"]
    common = ["guidance=best_of_n", "gammas=[0,inf]", "seeds=[1]", "likelihood=false", "batch_size=12"]
    evaluate(configured(f"checkpoint={checkpoint('ar')}", f"output={out}", *own, *common))
    plain, best = table(out / "results.csv")
    assert (plain["gamma"], best["gamma"]) == ("0.0", "inf")
    assert (plain["condition"], best["condition"]) == ("unconditional", "high len")
    assert int(best["network_evaluations"]) == 6 * int(plain["network_evaluations"])
    assert 24 < int(best["reward_calls"]) <= 24 * 6
    assert plain["reward_calls"] == "0"
    assert float(best["all_property_mean"]) > float(plain["all_property_mean"])
    content = json.loads((out / "summary.json").read_text())
    assert content["results"][1]["gamma"] == "inf"
    assert content["reward"] == {"name": "len", "scale": 1.0, "invalid": "-inf"}
    assert (out / "samples" / "gamma-inf_seed-1.csv").is_file()


def test_the_metrics_property_is_the_reward_in_standard_deviations(
    configured: Configured, checkpoint: Checkpoint, tmp_path: Path
):
    out = tmp_path / "out"
    evaluate(
        configured(
            f"checkpoint={checkpoint('mdlm')}",
            f"output={out}",
            "guidance=svdd",
            "guidance.svdd.method.candidates=2",
            "gammas=[2]",
            "seeds=[1]",
            "likelihood=false",
            "sampling.steps=2",
        )
    )
    content = json.loads((out / "summary.json").read_text())
    values = torch.tensor(load(checkpoint("mdlm")).data().train.with_format(None)["qed"][:], dtype=torch.float64)
    assert content["reward"]["scale"] == pytest.approx(values.std(correction=0).item())
    assert content["reward"]["name"] == "qed"
    assert content["results"][0]["condition"] == "high qed"


def test_particles_tell_of_their_weights_in_table_and_picture(
    configured: Configured, checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    evaluate(
        configured(
            f"checkpoint={checkpoint('udlm')}",
            f"output={out}",
            "guidance=particles",
            "guidance.particles.method.particles=4",
            "gammas=[0,1,30]",
            "seeds=[1]",
            "samples=8",
            "likelihood=false",
            "sampling.steps=4",
            "metrics=strings",
            "pictures.draw=true",
            "pictures.trajectories=0",
        )
    )
    none, some, much = table(out / "results.csv")
    assert (float(none["mean_ess_share"]), float(none["resampled_share"])) == (1.0, 0.0)
    assert 1 > float(some["mean_ess_share"]) > float(much["mean_ess_share"]) >= 0.25
    assert float(much["resampled_share"]) > 0
    assert (out / "particles.png").stat().st_size > 1000
    assert int(much["network_evaluations"]) == 8 * 4 * (4 + 3)
    assert "resampled" in capsys.readouterr().out
