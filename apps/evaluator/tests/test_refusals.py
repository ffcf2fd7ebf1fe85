"""One-line errors of unsupported requests."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import programs
import pytest
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from discrete_diffusion.evaluator.evaluate import evaluate

Configured = Callable[..., DictConfig]
Checkpoint = Callable[[str], Path]


@pytest.mark.parametrize(
    ("kind", "override", "message"),
    [
        ("udlm", "gammas=[-1]", "Expected distinct numbers >= 0 in `gammas`, got"),
        ("udlm", "gammas=[1,1]", "Expected distinct numbers >= 0 in `gammas`, got"),
        ("udlm", "gamma=2", r"Expected no `gamma`, .*: set gammas=\[2\]"),
        ("udlm", "label=2", r"Expected `label` to be one of 0 \(qed <= .*\), 1 \(qed > .*\), got 2"),
        ("udlm", "label=true", r"Expected `label` to be one of 0 \(qed <= .*\), got True"),
        ("udlm", "metrics=dna", "Expected `metrics` for data of the kind .*, but none of .* valid for metrics of"),
        ("udlm", "metrics=text", "Expected `metrics` for data of the kind 'molecules', got those of texts"),
        ("udlm", "pictures.gamma=7", "Expected `pictures.gamma` to be one of `gammas`, got 7"),
        ("udlm", "sampling.steps=0", "Expected `steps` >= 1, got 0"),
        ("udlm", "sampling.nucleus=0", "Expected 0 < `p` <= 1, got 0"),
        ("udlm", "sampling.temperature=-1", "Expected a finite `temperature` > 0, got -1"),
        ("udlm", "data.path=elsewhere.csv", "the data of this model come from no file"),
        ("udlm", "prompt=Zz", "Expected a `prompt` of tokens that the model knows"),
        ("udlm", f"prompt={'C' * 99}", "Expected a `prompt` of at most"),
        ("udlm", "seeds=[1,1]", "Expected distinct integers >= 0 in `seeds`"),
        ("udlm", "samples=0", "Expected `samples` >= 1, got 0"),
        ("udlm", "device=abacus", "The device 'abacus' cannot be used"),
        ("ar", "sampling.steps=8", "Expected no `steps`: this model is sampled one token at a time"),
        ("unlabeled", "gammas=[2]", "it needs labels, and the model was trained without"),
        ("unlabeled", "label=0", "The model was trained without labels: leave out `label`"),
        ("udlm", "guidance=none gammas=[1]", "Expected no `gammas` without guidance"),
        ("udlm", "gammas=[inf]", "Expected a finite `gamma` >= 0, got inf"),
        ("udlm", "gammas=[nan]", "Expected distinct numbers >= 0 in `gammas`"),
        ("udlm", "guidance=particles gammas=[inf]", "Expected a finite `gamma` >= 0, got inf"),
        ("udlm", "guidance=particles strength=ramp", "the gamma of particles does not change over time"),
        ("udlm", "guidance=particles guidance.particles.method.particles=0", "Expected `particles` >= 1, got 0"),
        ("udlm", "guidance=[svdd,best_of_n]", "Expected at most one search, got SVDD and best of n"),
        ("udlm", "guidance=nos guidance.nos.method.stability=-1", "Expected a finite `stability` >= 0, got -1"),
        ("udlm", "guidance=fudge", "Expected a left-to-right `base` for FUDGE"),
        ("udlm", "guidance=fudge guidance.fudge.level=sideways", "Expected `guidance.fudge.level` to be one of hidden"),
        ("udlm", "strength=interval strength.first=0.9", "Expected 0 <= `first` <= `last` <= 1, got 0.9 and 0.8"),
        ("udlm", "classifier=somewhere", "Expected no `classifier`: no guidance method uses somewhere"),
        ("udlm", "guidance=particles reward.invalid=nan", "Expected a number or -inf for `reward.invalid`, got nan"),
        ("udlm", "guidance=particles reward.scale=0", "Expected a finite `reward.scale` > 0, got 0"),
        ("udlm", "guidance=svdd reward.function._target_=builtins.str", "Expected the reward str to return a number"),
        ("udlm", "guidance=svdd reward.function._target_=builtins.int", "The reward int failed on .*: invalid literal"),
        ("udlm", "metrics.property._target_=builtins.int", "The property int failed on .*: invalid literal"),
        (
            "udlm",
            "metrics.property._target_=builtins.print",
            "Expected the property print to return a number, got None",
        ),
        ("udlm", "device=meta", "The device 'meta' cannot be used"),
        ("udlm", "null_label=1", "Expected no `null_label`"),
        ("udlm", "guidance=second_condition", r"Expected `guidance\.second_condition\.classifier\.checkpoint=RUN`"),
        ("ar", "guidance=classifier_based", "Expected a diffusion model under ClassifierBased"),
        ("ar", "guidance=particles", "search a left-to-right model with BestOf"),
        ("unlabeled", "suite=guidance guidance=classifier_free", "Expected a row of the suite that can be run"),
        ("ar", "suite=guidance guidance=nos", "Expected a row of the suite that can be run"),
        ("udlm", "suite=guidance suite.nos.samples=0", "Expected `suite.nos.samples` >= 1, got 0"),
        ("udlm", "suite=guidance suite.nos.gammas=[-2]", "Expected distinct numbers >= 0 in `suite.nos.gammas`"),
        ("udlm", "suite=guidance suite.nos.for=cats", "Expected `suite.nos.for` to be one of any, diffusion"),
        ("udlm", "suite=guidance +suite.nos.gamma=2", "Expected `guidance`, and perhaps `level`.* under `suite.nos`"),
        ("udlm", "constraints.ban=[Zn]", "Expected tokens of the model in `constraints.ban`, got 'Zn': .*'N'"),
        ("udlm", "constraints.ban=C", r"Expected a list of tokens in `constraints\.ban`, got C"),
        ("udlm", "constraints.length=99", "Expected 0 <= `constraints.length` <= .*, got 99"),
        ("udlm", "constraints.only={0:[C]}", "Expected positions from 1 to .* in `constraints.only`, got 0"),
        ("udlm", "constraints.only={3:[]}", r"Expected a list of tokens in `constraints\.only\.3`"),
        ("udlm", "constraints.ban=[C] constraints.only={3:[C]}", "allow at position 3, but there is none"),
        ("udlm", "constraints.ban=[C] prompt=NC", "Expected a `prompt` that `constraints` allow, but 'C' is not at 2"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(
    kind: str, override: str, message: str, configured: Configured, checkpoint: Checkpoint, tmp_path: Path
):
    out = tmp_path / "out"
    # What Hydra says of an error inside of what it builds, the command line leaves out.
    with pytest.raises((ValueError, InstantiationException), match=message):
        evaluate(configured(f"checkpoint={checkpoint(kind)}", f"output={out}", *override.split()))
    assert not out.exists()


def damage_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])


def change_backbone(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["backbone"]["hidden_size"] = 32
    (folder / "config.json").write_text(json.dumps(config))


def change_format(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "format": 99}))


def cut_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"format": 2')


def empty_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"format": 2}')


def lose_label(folder: Path) -> None:
    (folder / "label.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "label": None}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_weights, "cannot be read"),
        (change_backbone, "asks for blocks.* and model.safetensors has"),
        (change_format, "Expected a checkpoint of format 2"),
        (cut_config, r"config\.json cannot be read"),
        (empty_config, "Expected 'backbone', 'data', 'length', 'model'"),
        (lose_label, "label.json has None classes and the network 2"),
    ],
)
def test_a_checkpoint_whose_parts_do_not_fit_is_refused(
    damage: Callable[[Path], None], message: str, configured: Configured, checkpoint: Checkpoint, tmp_path: Path
):
    folder = shutil.copytree(checkpoint("udlm"), tmp_path / "copy")
    damage(folder)
    with pytest.raises(ValueError, match=message) as refused:
        evaluate(configured(f"checkpoint={folder}"))
    assert "\n" not in str(refused.value)


def evaluator(*overrides: str, cwd: Path) -> CompletedProcess[str]:
    return programs.run("-m", "discrete_diffusion.evaluator", *overrides, cwd=cwd)


def test_on_the_command_line_it_is_one_line_and_exit_code_2(checkpoint: Checkpoint, tmp_path: Path):
    folder = shutil.copytree(checkpoint("udlm"), tmp_path / "copy")
    damage_weights(folder)
    run = evaluator(f"checkpoint={folder}", cwd=tmp_path)
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert line.startswith("evaluator: A part of the checkpoint")
    assert list(tmp_path.iterdir()) == [folder]


def test_without_a_run_it_says_how_to_make_one(tmp_path: Path):
    run = evaluator(cwd=tmp_path)
    assert run.returncode == 2
    assert run.stderr == "evaluator: No checkpoint under outputs: train one with `uv run trainer`, or name one.\n"


def test_a_misspelt_guidance_is_named_beside_those_that_there_are(tmp_path: Path):
    run = evaluator("guidance=fugde", cwd=tmp_path)
    assert run.returncode == 2
    assert "got fugde: did you mean fudge?" in run.stderr
    assert "fudge" in run.stderr
    assert "Traceback" not in run.stderr


def test_an_unknown_option_is_named(tmp_path: Path):
    run = evaluator("nonsense=1", cwd=tmp_path)
    assert run.returncode == 2
    assert "nonsense" in run.stderr
    assert "Traceback" not in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_tells_the_groups_and_examples(tmp_path: Path):
    run = evaluator("--help", cwd=tmp_path)
    assert run.returncode == 0
    assert "guidance: best_of_n, classifier_based, classifier_free" in run.stdout
    assert "strength: constant, cosine, interval, ramp" in run.stdout
    assert "suite: classifier_based, guidance" in run.stdout
    assert "metrics: auto, dna, images, molecules, proteins, selfies, strings, text" in run.stdout
    assert "judge: huggingface, none, trained" in run.stdout
    assert "uv run evaluator gammas=[0,2]" in run.stdout
