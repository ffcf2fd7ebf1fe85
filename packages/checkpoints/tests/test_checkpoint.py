import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from discrete_diffusion.checkpoints import Checkpoint, load, newest
from discrete_diffusion.datasets import smiles_tokenizer


def edit(directory: Path, change) -> None:
    config = json.loads((directory / "config.json").read_text())
    del config["digests"]  # a change on purpose
    change(config)
    (directory / "config.json").write_text(json.dumps(config))


def test_what_is_saved_is_what_is_loaded(checkpoint: Checkpoint, tmp_path: Path, generator: torch.Generator):
    found = load(checkpoint.save(tmp_path / "checkpoint"))
    assert found.config == checkpoint.config
    assert found.label == checkpoint.label
    assert found.tokenizer.get_vocab() == checkpoint.tokenizer.get_vocab()
    xt = torch.randint(len(found.tokenizer), (2, 12), generator=generator)
    t, y = torch.tensor([0.3, 0.9]), torch.tensor([0, 2])
    torch.testing.assert_close(found.denoiser()(xt, t, y=y), checkpoint.denoiser()(xt, t, y=y))
    assert not found.network.training


def test_saving_again_replaces_and_leaves_nothing_behind(checkpoint: Checkpoint, tmp_path: Path):
    checkpoint.save(tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "stale").write_text("")
    checkpoint.save(tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint" / "stale").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_failed_save_leaves_the_old_checkpoint(checkpoint: Checkpoint, tmp_path: Path, monkeypatch):
    where = checkpoint.save(tmp_path / "checkpoint")

    def full(*_: object) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("discrete_diffusion.checkpoints.storage.save_file", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(where)
    load(where)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_newest(checkpoint: Checkpoint, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="No checkpoint under"):
        newest(tmp_path)
    import os

    for age, name in enumerate(["b", "a"]):
        config = checkpoint.save(tmp_path / name / "checkpoint") / "config.json"
        os.utime(config, (1000 - age, 1000 - age))
    assert newest(tmp_path) == tmp_path / "b" / "checkpoint"


def test_a_folder_without_a_checkpoint_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"has no config\.json and no model\.safetensors"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format=99), "Expected a checkpoint of format 2"),
        (lambda c: c["backbone"].update(hidden_size=16), "shape"),
        (lambda c: c["backbone"].update(num_blocks=2), "which model.safetensors lacks"),
        (lambda c: c["backbone"].update(num_classes=3), "cond_map.embedding_table.weight of shape"),
    ],
)
def test_a_checkpoint_that_does_not_match_is_refused(checkpoint: Checkpoint, tmp_path: Path, change, message: str):
    where = checkpoint.save(tmp_path / "checkpoint")
    edit(where, change)
    with pytest.raises(ValueError, match=message):
        load(where)


def test_a_tokenizer_of_another_size_is_refused(checkpoint: Checkpoint, tmp_path: Path):
    where = checkpoint.save(tmp_path / "checkpoint")
    smiles_tokenizer(["CN"]).save_pretrained(where)
    with pytest.raises(ValueError, match="the tokenizer has 7 symbols"):
        load(where)


def test_a_label_of_another_model_is_refused(checkpoint: Checkpoint, tmp_path: Path):
    where = checkpoint.save(tmp_path / "checkpoint")
    (where / "label.json").unlink()
    with pytest.raises(ValueError, match=r"label\.json has None classes and the network 2"):
        load(where)


def test_weights_that_nothing_asks_for_are_refused(checkpoint: Checkpoint, tmp_path: Path):
    where = checkpoint.save(tmp_path / "checkpoint")
    weights = load_file(where / "model.safetensors")
    save_file({**weights, "extra": torch.zeros(1)}, where / "model.safetensors")
    with pytest.raises(ValueError, match="has the weight extra"):
        load(where)


def test_code_of_others_needs_trust(checkpoint: Checkpoint, tmp_path: Path):
    where = checkpoint.save(tmp_path / "checkpoint")
    edit(where, lambda c: c["data"].update(rows={"_target_": "my_package.my_rows"}))
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        load(where)
    load(where, trust_remote_code=True)


def zero_weights(where: Path) -> None:
    file = where / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1000:] = bytes(1000)
    file.write_bytes(content)


def swap_ids(where: Path) -> None:
    file = where / "tokenizer.json"
    fields = json.loads(file.read_text())
    vocabulary = fields["model"]["vocab"]
    first, second, *_ = (name for name in vocabulary if name.isalpha())
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    file.write_text(json.dumps(fields))


def change_length(where: Path) -> None:
    file = where / "config.json"
    file.write_text(file.read_text().replace('"length": 12', '"length": 11'))


def change_label(where: Path) -> None:
    (where / "label.json").write_text((where / "label.json").read_text().replace("0.5", "0.6"))


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (zero_weights, "model.safetensors"),
        (swap_ids, "tokenizer.json"),
        (change_length, "config.json"),
        (change_label, "label.json"),
    ],
)
def test_damage_that_still_reads_is_found(checkpoint: Checkpoint, tmp_path: Path, damage, name: str):
    where = checkpoint.save(tmp_path / "checkpoint")
    before = (where / name).read_bytes()
    damage(where)
    assert (where / name).read_bytes() != before
    with pytest.raises(ValueError, match=f"{name} is not as it was saved: it is damaged or was changed") as refused:
        load(where)
    assert "\n" not in str(refused.value)
    edit(where, lambda _: None)  # without digests, as checkpoints of version 0.1
    load(where)


def test_a_copy_is_as_it_was_saved(checkpoint: Checkpoint, tmp_path: Path):
    shutil.copytree(checkpoint.save(tmp_path / "checkpoint"), tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_text("mine")
    assert load(load(tmp_path / "copy").save(tmp_path / "again")).config == checkpoint.config


def test_process_tells_diffusion_from_autoregressive_models(checkpoint: Checkpoint):
    denoiser = checkpoint.config["model"]["denoiser"]
    assert type(checkpoint.process).__name__ == denoiser["process"]["_target_"].rpartition(".")[2]
    left_to_right = {"_target_": "discrete_diffusion.processes.NextToken", "_partial_": True, "bos_id": 0}
    model = {**checkpoint.config["model"], "denoiser": left_to_right}
    found = replace(checkpoint, config={**checkpoint.config, "model": model})
    assert found.process is None
    with pytest.raises(ValueError, match="has no kernel"):
        found.kernel()
