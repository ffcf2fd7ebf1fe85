"""Models of the hub, which is a folder here."""

import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

from discrete_diffusion.backbones import DiT
from discrete_diffusion.checkpoints import Checkpoint, load
from discrete_diffusion.datasets import smiles_tokenizer

NAME = "somebody/molecules-1.0"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's files on the hub; `snapshot_download` copies the requested ones."""
    remote, local = tmp_path / "remote", tmp_path / "local"
    remote.mkdir()

    def snapshot_download(name: str, *, allow_patterns: list[str]) -> str:
        assert name == NAME
        local.mkdir(exist_ok=True)
        for file in remote.rglob("*"):
            path = file.relative_to(remote)
            if file.is_file() and any(fnmatch(str(path), pattern) for pattern in allow_patterns):
                (local / path).parent.mkdir(exist_ok=True)
                shutil.copy(file, local / path)
        return str(local)

    monkeypatch.setattr("discrete_diffusion.checkpoints.hub.snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    return remote


def fill(remote: Path, *, weights: str) -> DiT:
    """A published UDLM, with much beside it."""
    tokenizer = smiles_tokenizer(["CCO"])
    network = DiT(len(tokenizer), 8, 1, 2, cond_size=4)
    tokenizer.save_pretrained(remote)
    sizes = f'"vocab_size": {len(tokenizer)}, "hidden_dim": 8, "n_blocks": 1, "n_heads": 2, "cond_dim": 4'
    text = f'{{"model_type": "udlm", {sizes}, "model_length": 6, "dropout": 0.1, "time_conditioning": true}}'
    (remote / "config.json").write_text(text)
    named = {f"backbone.{name}": weight for name, weight in network.state_dict().items()}
    if "safetensors" in weights:
        save_file(named, remote / "model.safetensors")
    if "bin" in weights:
        torch.save(named, remote / "pytorch_model.bin")
    for name in ("modeling_udlm.py", "optimizer.bin", "README.md"):
        (remote / name).write_text("")
    return network.eval()


@pytest.mark.parametrize("weights", ["safetensors", "bin", "safetensors and bin"])
@pytest.mark.parametrize("spelling", [str, Path])
def test_a_name_is_downloaded_without_code(hub: Path, tmp_path: Path, weights: str, spelling: type) -> None:
    network = fill(hub, weights=weights)
    found = load(spelling(NAME))
    xt, sigma = torch.tensor([[5, 6, 1]]), torch.tensor([0.4])
    assert torch.equal(found.network(xt, sigma), network(xt, sigma))
    names = {path.name for path in (tmp_path / "local").iterdir()}
    assert not names & {"modeling_udlm.py", "optimizer.bin", "README.md"}
    assert ("pytorch_model.bin" in names) == (weights == "bin")


def test_a_checkpoint_of_ours_comes_from_the_hub_too(hub: Path, tmp_path: Path) -> None:
    fill(hub, weights="safetensors")
    unit = load(NAME).save(tmp_path / "ours")
    shutil.rmtree(tmp_path / "local")
    shutil.rmtree(hub)
    unit.rename(hub)
    assert isinstance(load(NAME), Checkpoint)


@pytest.mark.parametrize("path", ["/no/folder", "./no/folder", "no", "../a/b", "a/b/c", "outputs/run", "a/../b"])
def test_what_is_a_path_is_not_looked_for_on_the_hub(hub: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / "outputs").mkdir()
    with pytest.raises(FileNotFoundError, match="Expected a checkpoint in"):
        load(path)


def test_a_folder_goes_before_a_name(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(hub, weights="safetensors")
    checkpoint = load(NAME)
    monkeypatch.setattr("discrete_diffusion.checkpoints.hub.snapshot_download", None)
    checkpoint.save(tmp_path / NAME)
    load(NAME)


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def offline(*_: Any, **__: Any) -> str:
        raise LocalEntryNotFoundError("No network.\nMuch more to read.")

    monkeypatch.setattr("discrete_diffusion.checkpoints.hub.snapshot_download", offline)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConnectionError, match=r"is no folder here, and no model .*\(No network\): pass") as caught:
        load(NAME)
    assert "\n" not in str(caught.value)
