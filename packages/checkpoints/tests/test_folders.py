"""Folders of runs and checkpoints."""

import os
from pathlib import Path

import pytest
import torch

from discrete_diffusion import models
from discrete_diffusion.checkpoints import evaluations, expect_checkpoint, load, locate


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    for age, name in enumerate(["old", "new"]):
        config = tmp_path / "molecules" / name / "checkpoint" / "config.json"
        config.parent.mkdir(parents=True)
        config.write_text("{}")
        os.utime(config, (age, age))
    return tmp_path


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("molecules/old/checkpoint", "molecules/old/checkpoint"),
        ("molecules/old", "molecules/old/checkpoint"),
        ("molecules", "molecules/new/checkpoint"),
        ("nothing", "nothing"),
    ],
)
def test_a_checkpoint_its_run_and_a_folder_of_runs_are_found(outputs: Path, path: str, found: str):
    assert locate(outputs / path) == outputs / found


def test_the_newest_checkpoint_is_the_default(outputs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(outputs)
    (outputs / "molecules").rename(outputs / "outputs")
    assert locate(None) == Path("outputs/new/checkpoint")


@pytest.mark.parametrize("path", ["nothing", "a/b/c", "./nothing/here"])
def test_a_folder_without_a_checkpoint_is_refused(outputs: Path, path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(outputs)
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        expect_checkpoint(path)


def test_names_of_the_hub_and_checkpoints_pass(outputs: Path):
    expect_checkpoint("owner/model")
    expect_checkpoint(outputs / "molecules")


def test_a_shipped_model_is_found_by_its_name_unless_there_is_such_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    name = models.names()[0]
    assert locate(name) == models.folder(name)
    assert evaluations(locate(name)) == Path("outputs") / name / "evaluation"
    expect_checkpoint(name)
    (tmp_path / name).mkdir()
    assert locate(name) == Path(name)
    with pytest.raises(FileNotFoundError, match=f"Expected a checkpoint in {name}"):
        expect_checkpoint(name)


@pytest.mark.parametrize("name", models.names())
def test_a_shipped_model_samples_molecules(name: str):
    checkpoint = load(name)
    samples = checkpoint.decode(checkpoint.sample(8, seed=0))
    assert len(set(samples)) == 8
    assert all(set(one) <= set("".join(checkpoint.tokenizer.get_vocab())) for one in samples)
    assert all(parameter.dtype == torch.float32 for parameter in checkpoint.network.parameters())


@pytest.mark.parametrize("read", [expect_checkpoint, load])
def test_a_misspelled_name_is_answered_with_the_shipped_models(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"; the shipped models are {', '.join(models.names())}\\.$"):
        read("qm9-udlm-smal")
