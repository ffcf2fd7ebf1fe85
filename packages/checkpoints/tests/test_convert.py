"""Conversion of files of the published code to checkpoints with the same outputs."""

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_diffusion.backbones import DiT
from discrete_diffusion.checkpoints import Checkpoint, load
from discrete_diffusion.checkpoints.conversion import convert, read_foreign
from discrete_diffusion.datasets import pixel_tokenizer, smiles_tokenizer, text8_tokenizer
from discrete_diffusion.guidance import ClassifierFree
from discrete_diffusion.processes import Absorbing, ContinuousNELBO, DiscreteNELBO, Uniform
from discrete_diffusion.schedules import Cosine, Geometric, LogLinear

CONFIG = {
    "mode": "train",
    "diffusion": "uniform",
    "backbone": "dit",
    "parameterization": "d3pm",
    "time_conditioning": True,
    "subs_masking": False,
    "T": 0,
    "sampling": {"steps": 6, "batch_size": "${loader.eval_batch_size}"},
    "training": {"ema": 0.9999, "sampling_eps": 1e-3, "guidance": {"cond_dropout": 0.1}},
    "data": {"train": "text8", "tokenizer_name_or_path": "text8", "num_classes": 3},
    "model": {
        "hidden_size": 16,
        "cond_dim": 8,
        "length": "${data.length}",
        "n_blocks": 2,
        "n_heads": 2,
        "dropout": 0.1,
    },
    "noise": {"type": "loglinear", "sigma_min": 1e-4, "sigma_max": 20},
}
CONFIG["data"]["length"] = 10
V = 35


def config(**changes: Any) -> dict[str, Any]:
    """The configuration with other entries, `a__b` for `a.b`; None takes one out."""
    changed = json.loads(json.dumps(CONFIG))
    for name, value in changes.items():
        *parents, last = name.split("__")
        node = changed
        for parent in parents:
            node = node[parent]
        if value is None:
            del node[last]
        else:
            node[last] = value
    return changed


def random(vocab_size: int = V, **changes: Any) -> DiT:
    sizes = {"hidden_size": 16, "num_blocks": 2, "num_heads": 2, "cond_size": 8, "num_classes": 3, **changes}
    network = DiT(vocab_size, **sizes).eval()
    draw = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=draw)
    return network


def twice(network: DiT) -> DiT:
    """What the averages of `save` are."""
    doubled = random(network.vocab_size, num_classes=network.num_classes, time_conditioning=network.time_conditioning)
    doubled.load_state_dict({name: 2 * weight for name, weight in network.state_dict().items()})
    return doubled


def save(path: Path, network: DiT, published_config: dict[str, Any], prefix: str = "backbone.", **changes: Any) -> Path:
    state: dict[str, Tensor] = {f"{prefix}{name}": weight for name, weight in network.state_dict().items()}
    state[f"{prefix}rotary_emb.inv_freq"] = 10_000.0 ** (-torch.arange(4) / 4)
    shadows = [2 * weight for name, weight in state.items() if not name.endswith("inv_freq")]
    content = {
        "global_step": 1234,
        "state_dict": state,
        "hyper_parameters": {"config": published_config},
        "ema": {"decay": 0.999, "num_updates": 7, "shadow_params": shadows},
        **changes,
    }
    torch.save({name: value for name, value in content.items() if value is not None}, path)
    return path


def logits(network: Any, vocab_size: int = V, y: int | None = 1) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    xt = torch.randint(vocab_size, (2, 10), generator=draw)
    with torch.no_grad():
        return network(xt, torch.tensor([0.2, 1.5]), None if y is None else torch.tensor([y, 3]))


def test_a_uniform_model_with_its_averages(tmp_path: Path):
    network = random()
    made = convert(save(tmp_path / "a.ckpt", network, config()), tmp_path / "made")
    found = load(tmp_path / "made")
    assert found.config == made.checkpoint.config
    torch.testing.assert_close(logits(found.network), logits(twice(network)), rtol=0, atol=0)
    assert not torch.allclose(logits(found.network), logits(network), atol=0.1)
    denoiser = found.denoiser()
    assert denoiser.process == Uniform(LogLinear(1e-3), V)
    assert isinstance(found.objective(), ContinuousNELBO)
    assert (found.sampler().steps, found.length, found.null_label) == (6, 10, 3)
    assert found.tokenizer.get_vocab() == text8_tokenizer().get_vocab()
    assert made.origin == f"the averaged weights of step 1,234 in {tmp_path / 'a.ckpt'}"
    assert made.notes == ()
    assert made.data_settings["train"] == "text8"


def test_what_was_converted_is_guided(tmp_path: Path, generator: torch.Generator):
    convert(save(tmp_path / "a.ckpt", random(), config()), tmp_path / "made")
    model = load(tmp_path / "made")
    guided = [lambda kernel: ClassifierFree(kernel, gamma=2.0, null_label=3)]
    ids = model.sample(3, y=1, on_kernel=guided, generator=generator)
    assert ids.shape == (3, 10)
    assert len(model.decode(ids)) == 3
    nats = model.objective().terms(model.denoiser(), ids, torch.tensor([1, 1, 1]), generator=generator)
    assert torch.isfinite(nats.diffusion).all()


def test_a_masked_model(tmp_path: Path, generator: torch.Generator):
    published_config = config(diffusion=None, parameterization="subs", time_conditioning=False, training__guidance=None)
    network = random(num_classes=None, time_conditioning=False)
    model = read_foreign(save(tmp_path / "a.ckpt", network, published_config)).checkpoint
    mask = text8_tokenizer().mask_token_id
    assert model.denoiser().process == Absorbing(LogLinear(1e-3), V, mask)
    assert model.label is None
    torch.testing.assert_close(logits(model.network, y=None), logits(twice(network), y=None), rtol=0, atol=0)
    assert not (model.sample(2, generator=generator) == mask).any()


def test_last_weights(tmp_path: Path):
    network = random()
    path = save(tmp_path / "a.ckpt", network, config())
    found = read_foreign(path, weights="last")
    torch.testing.assert_close(logits(found.checkpoint.network), logits(network), rtol=0, atol=0)
    assert "last weights" in found.origin
    plain = save(tmp_path / "b.ckpt", network, config(), ema=None)
    found = read_foreign(plain)
    torch.testing.assert_close(logits(found.checkpoint.network), logits(network), rtol=0, atol=0)
    assert found.notes == ("there are no averaged weights: the last ones were taken",)
    with pytest.raises(ValueError, match=r"Expected averaged weights in .*b\.ckpt, which has none"):
        read_foreign(plain, weights="ema")
    with pytest.raises(ValueError, match="Expected no `weights`"):
        read_foreign(tmp_path, weights="ema")


@pytest.mark.parametrize("labelled", [False, True])
def test_a_model_from_left_to_right(tmp_path: Path, generator: torch.Generator, labelled: bool):
    """Theirs: no noise level; without labels no modulation, so that a block adds its branches as they are."""
    network = random(num_classes=3 if labelled else None, causal=True)
    state = network.state_dict()
    kept = {
        name: weight
        for name, weight in state.items()
        if not name.startswith("sigma_map") and (labelled or "adaLN" not in name)
    }
    path = tmp_path / "a.ckpt"
    content = {
        "state_dict": {f"backbone.{name}": weight for name, weight in kept.items()},
        "hyper_parameters": {"config": config(parameterization="ar", diffusion="absorbing_state")},
    }
    torch.save(content, path)
    found = read_foreign(path)
    model = found.checkpoint
    for block in network.blocks:
        if not labelled:
            block.adaLN_modulation.weight.data.zero_()
            block.adaLN_modulation.bias.data = torch.tensor([0.0, 0, 1, 0, 0, 1]).repeat_interleave(16)
    if not labelled:
        network.output_layer.adaLN_modulation.weight.data.zero_()
        network.output_layer.adaLN_modulation.bias.data.zero_()
    network.sigma_map = _Nothing()
    y = 1 if labelled else None
    torch.testing.assert_close(logits(model.network, y=y), logits(network, y=y))
    assert model.network.causal
    assert model.length == 9
    assert any("one token less" in note for note in found.notes)
    assert model.sample(2, y=y, generator=generator).shape == (2, 9)
    assert load(model.save(tmp_path / "made")).config == model.config
    with pytest.raises(ValueError, match="Expected no data for a published model from left to right"):
        convert(path, tmp_path / "other", data={"kind": "text"}, label=model.label)


class _Nothing(torch.nn.Module):
    def forward(self, sigma: Tensor) -> Tensor:
        return torch.zeros(len(sigma), 8)


@pytest.mark.parametrize(
    ("changes", "schedule", "objective"),
    [
        ({"noise__type": "cosine"}, Cosine(1e-3), ContinuousNELBO),
        ({"noise__type": "geometric"}, Geometric(1e-4, 20.0), ContinuousNELBO),
        ({"T": 100}, LogLinear(1e-3), DiscreteNELBO),
    ],
)
def test_process_and_objective(tmp_path: Path, changes: dict[str, Any], schedule: Any, objective: type):
    model = read_foreign(save(tmp_path / "a.ckpt", random(), config(**changes))).checkpoint
    built = model.objective()
    assert type(built) is objective
    for process in (model.denoiser().process, model.sampler().process, built.process):
        assert process == Uniform(schedule, V)
    assert getattr(built, "steps", 100) == 100


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"diffusion": "absorbing_state", "T": 10}, "parameterization=d3pm with masks"),
        ({"subs_masking": True}, "subs_masking=true with uniform noise"),
        ({"training__use_simple_ce_loss": True}, "trained by cross-entropy"),
        ({"training__change_of_variables": True}, "the network was fed t"),
        ({"training__guidance": {"cond_dropout": 0.0}}, "the null label was not trained"),
        ({"noise__eps": 1e-2}, r"noise\.eps=0\.01"),
        ({"training__sampling_eps": 1e-5}, r"training\.sampling_eps=1e-05"),
    ],
)
def test_changes_of_the_mathematics_are_reported(tmp_path: Path, changes: dict[str, Any], note: str):
    notes = read_foreign(save(tmp_path / "a.ckpt", random(), config(**changes))).notes
    assert len(notes) == 1
    assert re.search(note, notes[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "dimamba"}, "got dimamba, which cannot be converted"),
        ({"backbone": "gpt"}, "got gpt, which cannot be converted: it is none of the published code"),
        ({"diffusion": "uniform_data_marginals"}, "got diffusion=uniform_data_marginals"),
        ({"parameterization": "sedd"}, "with parameterization=sedd"),
        ({"noise__type": "polynomial"}, r"Expected noise\.type to be one of loglinear, .* got polynomial"),
        ({"model__n_heads": None}, r"Expected `model\.n_heads` in the checkpoint's configuration"),
        ({"model__n_heads": 3}, "do not fit"),
        ({"T": "many"}, r"Expected a number as `T` in the checkpoint's configuration, got 'many'"),
        ({"model__hidden_size": 32}, r"backbone\.vocab_embed|has the shape"),
        ({"model__n_blocks": 3}, r"without backbone\.blocks\.2"),
        ({"data__length": "${model.length}"}, r"Expected a plain value of `"),
        ({"data__tokenizer_name_or_path": "bert-base-uncased"}, "names 'bert-base-uncased'"),
    ],
)
def test_what_we_do_not_have_is_refused(tmp_path: Path, changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message) as caught:
        convert(save(tmp_path / "a.ckpt", random(), config(**changes)), tmp_path / "made")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_sizes_of_one_model_inside_the_other_are_those_of_its_weights(tmp_path: Path):
    network = random()
    published_config = config(
        backbone="hf_dit", model={"length": 10, "pretrained_model_name_or_path": "somebody/model"}
    )
    found = read_foreign(save(tmp_path / "a.ckpt", network, published_config, prefix="backbone.backbone."))
    torch.testing.assert_close(logits(found.checkpoint.network), logits(twice(network)), rtol=0, atol=0)
    assert found.checkpoint.config["backbone"]["num_heads"] == 2
    assert len(found.notes) == 1


def test_a_fast_tokenizer_comes_with_the_file(tmp_path: Path):
    tokenizer = smiles_tokenizer(["CCO", "c1ccccc1"])
    network = random(len(tokenizer))
    published_config = config(data__tokenizer_name_or_path="somebody/else")
    path = save(
        tmp_path / "a.ckpt",
        network,
        published_config,
        hyper_parameters={"config": published_config, "tokenizer": tokenizer},
    )
    found = read_foreign(path)
    assert found.checkpoint.tokenizer.get_vocab() == tokenizer.get_vocab()
    assert found.checkpoint.tokenizer.special_tokens_map == tokenizer.special_tokens_map
    assert found.checkpoint.tokenizer("CO")["input_ids"] == tokenizer("CO")["input_ids"]
    assert found.notes == ()
    given = read_foreign(path, tokenizer=tokenizer)
    assert given.checkpoint.tokenizer is tokenizer
    assert any("tokenizers.Tokenizer" in note for note in given.notes)


def test_a_mask_behind_the_last_symbol(tmp_path: Path):
    published_config = config(
        diffusion="absorbing_state", parameterization="subs", data__tokenizer_name_or_path="raw_pixels"
    )
    model = read_foreign(save(tmp_path / "a.ckpt", random(257), published_config)).checkpoint
    assert model.denoiser().process.mask_id == 256
    assert len(model.tokenizer) == 257
    with pytest.raises(ValueError, match="Expected a tokenizer of 257 symbols"):
        read_foreign(tmp_path / "a.ckpt", tokenizer=pixel_tokenizer(7))


def described(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())


def test_a_folder_is_replaced_only_on_request_and_if_it_is_a_checkpoint(tmp_path: Path):
    path = save(tmp_path / "a.ckpt", random(), config())
    convert(path, tmp_path / "made")
    before = described(tmp_path / "made")
    with pytest.raises(FileExistsError, match="made exists"):
        convert(path, tmp_path / "made")
    convert(path, tmp_path / "made", weights="last", overwrite=True)
    after = described(tmp_path / "made")
    digests = before.pop("digests"), after.pop("digests")
    assert after == before
    assert digests[0]["model.safetensors"] != digests[1]["model.safetensors"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("x")
    with pytest.raises(FileExistsError, match="no checkpoint: name a new folder"):
        convert(path, tmp_path / "mine", overwrite=True)
    with pytest.raises(FileExistsError, match="Expected another folder"):
        convert(tmp_path / "made", tmp_path / "made", overwrite=True)
    with pytest.raises(FileExistsError, match="Expected another folder"):
        convert(path, tmp_path, overwrite=True)
    assert path.is_file()


def test_a_failed_conversion_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    path = save(tmp_path / "a.ckpt", random(), config())
    monkeypatch.setattr(import_module("discrete_diffusion.checkpoints.storage"), "save_file", full)
    with pytest.raises(OSError, match="No space"):
        convert(path, tmp_path / "made")
    assert [one.name for one in tmp_path.iterdir()] == ["a.ckpt"]


def test_one_of_our_own(checkpoint: Checkpoint, tmp_path: Path):
    checkpoint.save(tmp_path / "run" / "checkpoint")
    found = convert(tmp_path / "run", tmp_path / "made")
    assert load(tmp_path / "made").config == checkpoint.config
    assert found.notes == ()
