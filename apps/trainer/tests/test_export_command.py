"""`trainer export` on runs of the trainer."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from discrete_diffusion.checkpoints import ClassifierCheckpoint, load
from discrete_diffusion.trainer import __main__

Runs = Callable[..., Path]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The command line, from the program's name on."""

    def command(*arguments: str | Path) -> None:
        monkeypatch.setattr(sys, "argv", ["trainer", "export", *map(str, arguments)])
        __main__.main()

    return command


def test_a_run_and_its_classifiers_become_one_folder(
    generator_run: Runs,
    classify: Callable[..., ClassifierCheckpoint],
    command: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    run = generator_run("udlm", "steps=4")
    for name in ("one", "two"):
        classify(tmp_path / name, "noisy", run)
    given = ["--classifier", tmp_path / "one", "--classifier", tmp_path / "two", "--license", "apache-2.0"]
    capsys.readouterr()
    command(run, tmp_path / "mine", *given)
    printed = capsys.readouterr().out
    for line in (
        f"Everything is in {tmp_path / 'mine'}",
        "modeling_discrete_diffusion.py",
        f'model = AutoModelForMaskedLM.from_pretrained("{tmp_path / "mine"}", trust_remote_code=True)',
    ):
        assert line in printed

    found, trained = load(tmp_path / "mine"), load(run)
    assert set(found.classifiers) == {"noisy_1", "noisy_2"}
    weights = trained.network.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in found.network.state_dict().items())
    card = (tmp_path / "mine" / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert "At the end of training, in nats per sequence of validation data: " in card
    assert "| source | `molecules` |" in card
    contents = "".join(path.read_text() for path in (tmp_path / "mine").rglob("*.json"))
    assert str(run.parent) not in contents
    assert str(tmp_path) not in contents


def test_what_cannot_be_exported_is_one_line(
    generator_run: Runs,
    classify: Callable[..., ClassifierCheckpoint],
    command: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    run, other = generator_run("udlm", "steps=4"), generator_run("mdlm", "steps=4")
    classify(tmp_path / "masked", "noisy", other)
    (tmp_path / "holidays").mkdir()
    (tmp_path / "holidays" / "sea.txt").write_text("")
    for arguments, message in (
        (
            [run, tmp_path / "mine", "--classifier", tmp_path / "masked"],
            f"{tmp_path / 'masked'} does not match this model. ",
        ),
        ([tmp_path / "nothing", tmp_path / "mine"], "Expected a checkpoint in"),
        ([run, tmp_path / "holidays", "--overwrite"], "holds something that is no checkpoint"),
        ([run, run / "checkpoint", "--overwrite"], "Expected another folder than that of the source"),
        ([run, tmp_path / "mine", "--private"], "Expected `--push-to-hub NAME` beside `--private`."),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            command(*arguments)
        output = capsys.readouterr().err
        assert stopped.value.code == 2
        assert output.startswith("export: ")
        assert message in output
        assert len(output.strip().splitlines()) == 1
        assert not (tmp_path / "mine").exists()
    assert (tmp_path / "holidays" / "sea.txt").exists()


def test_it_is_uploaded_only_on_request(
    generator_run: Runs,
    command: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    uploads: list[tuple[str, bool]] = []

    def push_to_hub(directory: Path, name: str, *, private: bool) -> str:
        assert json.loads((directory / "config.json").read_text())["model_type"] == "discrete_diffusion"
        uploads.append((name, private))
        return f"somewhere/{name}"

    monkeypatch.setattr("discrete_diffusion.checkpoints.transformers_export.upload.push_to_hub", push_to_hub)
    run = generator_run("udlm", "steps=4")
    command(run, tmp_path / "mine")
    assert uploads == []
    command(run, tmp_path / "mine", "--overwrite", "--push-to-hub", "owner/mine", "--private")
    assert uploads == [("owner/mine", True)]
    assert "Uploaded to somewhere/owner/mine" in capsys.readouterr().out
    card = (tmp_path / "mine" / "README.md").read_text()
    assert 'from_pretrained("owner/mine", trust_remote_code=True)' in card
