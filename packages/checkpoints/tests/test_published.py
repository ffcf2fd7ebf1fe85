"""Folders of the published formats, with random weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer as Symbols
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from discrete_diffusion.backbones import DiT
from discrete_diffusion.checkpoints import Checkpoint, load
from discrete_diffusion.datasets import FittedCategoryLabel, smiles_tokenizer
from discrete_diffusion.guidance import ClassifierFree
from discrete_diffusion.processes import Absorbing, ContinuousNELBO, LeaveOneOut, Uniform
from discrete_diffusion.schedules import LogLinear

LENGTH = 8
TOKENIZER = smiles_tokenizer(["CCO", "N#N"])
VOCAB = len(TOKENIZER)
UDLM: dict[str, Any] = {
    "architectures": ["UDLM"],
    "auto_map": {"AutoConfig": "configuration_udlm.UDLMConfig", "AutoModelForMaskedLM": "modeling_udlm.UDLM"},
    "cfg": True,
    "cfg_num_classes": 3,
    "cond_dim": 8,
    "dropout": 0.1,
    "hidden_dim": 16,
    "model_length": LENGTH,
    "model_type": "udlm",
    "n_blocks": 2,
    "n_heads": 2,
    "time_conditioning": True,
    "torch_dtype": "float32",
    "transformers_version": "4.38.2",
    "vocab_size": VOCAB,
}
MDLM = {name: value for name, value in UDLM.items() if not name.startswith("cfg")}
MDLM |= {"model_type": "mdlm", "time_conditioning": False}


def published_weights(fields: dict[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
    """Random weights of every published name."""
    hidden, cond, vocab = fields["hidden_dim"], fields["cond_dim"], fields["vocab_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "vocab_embed.embedding": (vocab, hidden),
        "sigma_map.mlp.0.weight": (cond, 256),
        "sigma_map.mlp.0.bias": (cond,),
        "sigma_map.mlp.2.weight": (cond, cond),
        "sigma_map.mlp.2.bias": (cond,),
        "output_layer.norm_final.weight": (hidden,),
        "output_layer.linear.weight": (vocab, hidden),
        "output_layer.linear.bias": (vocab,),
        "output_layer.adaLN_modulation.weight": (2 * hidden, cond),
        "output_layer.adaLN_modulation.bias": (2 * hidden,),
    }
    if fields.get("cfg"):
        shapes["cond_map.embedding_table.weight"] = (fields["cfg_num_classes"] + 1, cond)
    for block in range(fields["n_blocks"]):
        inside = {"norm1.weight": (hidden,), "norm2.weight": (hidden,)}
        inside |= {"attn_qkv.weight": (3 * hidden, hidden), "attn_out.weight": (hidden, hidden)}
        inside |= {"mlp.0.weight": (4 * hidden, hidden), "mlp.0.bias": (4 * hidden,)}
        inside |= {"mlp.2.weight": (hidden, 4 * hidden), "mlp.2.bias": (hidden,)}
        inside |= {"adaLN_modulation.weight": (6 * hidden, cond), "adaLN_modulation.bias": (6 * hidden,)}
        shapes |= {f"blocks.{block}.{name}": shape for name, shape in inside.items()}
    weights = {f"backbone.{name}": 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    size = hidden // fields["n_heads"]
    weights["backbone.rotary_emb.inv_freq"] = 1 / 10_000 ** (torch.arange(0, size, 2).float() / size)
    return weights


def write(folder: Path, fields: dict[str, Any], weights: dict[str, Tensor], form: str = "safetensors") -> Path:
    """A published folder without a tokenizer, with code that must not run."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(fields))
    for name in ("configuration_udlm.py", "modeling_udlm.py"):
        (folder / name).write_text("raise SystemExit('run')")
    single, suffix = ("model", "safetensors") if form.endswith("safetensors") else ("pytorch_model", "bin")
    save: Callable[..., None] = save_file if suffix == "safetensors" else torch.save
    if not form.startswith("sharded"):
        save(weights, folder / f"{single}.{suffix}")
        return folder
    names, where = sorted(weights), {}
    for part in range(3):
        file = f"{single}-{part + 1:05}-of-00003.{suffix}"
        save({name: weights[name] for name in names[part::3]}, folder / file)
        where |= dict.fromkeys(names[part::3], file)
    index = {"metadata": {"total_size": 1}, "weight_map": where}
    (folder / f"{single}.{suffix}.index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(params=["udlm", "mdlm"])
def fields(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(UDLM if request.param == "udlm" else MDLM)


@pytest.fixture
def weights(fields: dict[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
    return published_weights(fields, generator)


def by_hand(fields: dict[str, Any], weights: dict[str, Tensor]) -> DiT:
    network = DiT(
        fields["vocab_size"],
        fields["hidden_dim"],
        fields["n_blocks"],
        fields["n_heads"],
        cond_size=fields["cond_dim"],
        num_classes=fields.get("cfg_num_classes") if fields.get("cfg") else None,
        time_conditioning=fields["time_conditioning"],
    )
    stripped = {name.removeprefix("backbone."): weight for name, weight in weights.items()}
    del stripped["rotary_emb.inv_freq"]
    network.load_state_dict(stripped)
    return network.eval()


def same_model(found: Checkpoint, network: DiT, generator: torch.Generator) -> None:
    xt = torch.randint(VOCAB, (2, LENGTH), generator=generator)
    sigma = torch.tensor([0.2, 4.0])
    labels = [None] if network.num_classes is None else [None, torch.tensor([0, network.num_classes])]
    for y in labels:
        assert torch.equal(found.network(xt, sigma, y), network(xt, sigma, y))


@pytest.mark.parametrize("form", ["safetensors", "bin", "sharded safetensors", "sharded bin"])
def test_every_form_of_weights_is_read(tmp_path: Path, fields, weights, generator, form: str) -> None:
    found = load(write(tmp_path / "published", fields, weights, form), tokenizer=TOKENIZER)
    assert not found.network.training
    same_model(found, by_hand(fields, weights), generator)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_weights_of_any_dtype_become_float32(
    tmp_path: Path, fields, weights, generator, dtype: torch.dtype, form: str
) -> None:
    cast = {name: weight.to(dtype) for name, weight in weights.items()}
    found = load(write(tmp_path / "published", fields, cast, form), tokenizer=TOKENIZER)
    assert {weight.dtype for weight in found.network.state_dict().values()} == {torch.float32}
    same_model(found, by_hand(fields, cast), generator)


def test_safetensors_are_preferred(tmp_path: Path, fields, weights, generator) -> None:
    folder = write(tmp_path / "published", fields, weights)
    (folder / "pytorch_model.bin").write_bytes(b"not read")
    same_model(load(folder, tokenizer=TOKENIZER), by_hand(fields, weights), generator)


def test_a_uniform_model_is_what_training_makes(tmp_path: Path, generator) -> None:
    found = load(write(tmp_path / "published", UDLM, published_weights(UDLM, generator)), tokenizer=TOKENIZER)
    process = found.objective().process
    assert process == Uniform(LogLinear(eps=1e-3), VOCAB, parameterization=LeaveOneOut())
    assert isinstance(found.objective(), ContinuousNELBO)
    assert (found.length, found.null_label, found.sampler().steps) == (LENGTH, 3, 32)
    assert found.label == FittedCategoryLabel("label", ("class 0", "class 1", "class 2"))
    assert found.network.time_conditioning
    assert found.config["data"] == {"kind": "strings"}
    assert found.config["model"]["causal"] is False


def test_a_masked_model_is_what_training_makes(tmp_path: Path, generator) -> None:
    fields = {**MDLM, "model_length": 1024}
    found = load(write(tmp_path / "published", fields, published_weights(fields, generator)), tokenizer=TOKENIZER)
    assert found.objective().process == Absorbing(LogLinear(eps=1e-3), VOCAB, TOKENIZER.mask_token_id)
    assert (found.length, found.null_label, found.sampler().steps) == (1024, None, 128)
    assert found.config["model"]["needs"] == "mask_token"
    # Without time conditioning every noise level is read as none.
    xt = torch.full((2, 4), TOKENIZER.mask_token_id)
    assert torch.equal(found.network(xt, torch.tensor([0.0, 0.0])), found.network(xt, torch.tensor([0.1, 6.0])))


@torch.no_grad()
def test_a_masked_model_keeps_what_is_known_and_never_says_mask(tmp_path: Path, generator) -> None:
    found = load(write(tmp_path / "published", MDLM, published_weights(MDLM, generator)), tokenizer=TOKENIZER)
    mask = TOKENIZER.mask_token_id
    xt = torch.tensor([[mask, 6, mask, 7]])
    log_x0 = found.denoiser()(xt, torch.tensor([0.5]))
    assert bool((log_x0[0, [0, 2], mask] == -torch.inf).all())
    assert log_x0[0, [1, 3], [6, 7]].tolist() == [0.0, 0.0]
    # SUBS (arXiv 2406.07524): the logits, the mask's left out, renormalized.
    logits = found.network(xt, torch.tensor([0.0]))[0, [0, 2]]
    logits[:, mask] = -torch.inf
    torch.testing.assert_close(log_x0[0, [0, 2]], logits.log_softmax(-1))


def test_it_samples_under_guidance_and_decodes(tmp_path: Path, fields, weights, generator) -> None:
    found = load(write(tmp_path / "published", fields, weights), tokenizer=TOKENIZER)
    if found.null_label is None:
        ids = found.sample(3, generator=generator)
    else:
        guided = [lambda kernel: ClassifierFree(kernel, gamma=2.0, null_label=found.null_label)]
        ids = found.sample(3, y=1, on_kernel=guided, generator=generator)
    assert ids.shape == (3, LENGTH)
    assert len(found.decode(ids)) == 3


def test_what_is_saved_is_ours_and_the_same_model(tmp_path: Path, fields, weights, generator) -> None:
    folder = write(tmp_path / "published", fields, weights)
    read = load(folder, tokenizer=TOKENIZER)
    found = load(read.save(tmp_path / "ours"))
    assert (found.config, found.label) == (read.config, read.label)
    assert found.tokenizer.get_vocab() == TOKENIZER.get_vocab()
    same_model(found, by_hand(fields, weights), generator)
    with pytest.raises(ValueError, match="a checkpoint of ours has its own"):
        load(tmp_path / "ours", tokenizer=TOKENIZER)


def words(size: int, **special: str) -> PreTrainedTokenizerFast:
    """A tokenizer of `size` words, special ones first."""
    names = list(dict.fromkeys([*special.values(), *(f"w{index}" for index in range(size))]))[:size]
    symbols = Symbols(WordLevel({name: index for index, name in enumerate(names)}, unk_token="w0"))
    return PreTrainedTokenizerFast(tokenizer_object=symbols, **special)


ENDS = {"bos_token": "<s>", "eos_token": "</s>"}


@pytest.mark.parametrize("spelling", ["object", "folder", "beside the weights"])
def test_a_tokenizer_is_given_or_lies_in_the_folder(tmp_path: Path, fields, weights, spelling: str) -> None:
    folder = write(tmp_path / "published", fields, weights)
    given: PreTrainedTokenizerBase | Path | None = TOKENIZER
    if spelling == "folder":
        given = tmp_path / "tokenizer"
        TOKENIZER.save_pretrained(given)
    if spelling == "beside the weights":
        given = None
        TOKENIZER.save_pretrained(folder)
    found = load(folder, tokenizer=given)
    assert found.tokenizer.get_vocab() == TOKENIZER.get_vocab()
    assert found.decode(found.tokenizer("CCO", return_tensors="pt")["input_ids"]) == ["CCO"]


def test_only_errors_of_the_user_come_out_of_a_changed_config(tmp_path: Path, fields, weights, mutate) -> None:
    folder = write(tmp_path / "published", fields, weights)
    mutate(folder / "config.json", lambda changed: load(changed, tokenizer=TOKENIZER))


def test_a_missing_tokenizer_is_requested(tmp_path: Path, fields, weights) -> None:
    with pytest.raises(ValueError, match="pass the one that the model was trained with as `tokenizer`"):
        load(write(tmp_path / "published", fields, weights))


def test_a_tokenizer_with_code_is_requested(tmp_path: Path, fields, weights) -> None:
    folder = write(tmp_path / "published", fields, weights)
    own = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["modeling_udlm.Own", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(own))
    with pytest.raises(ValueError, match=r"cannot be read .*: pass one as `tokenizer`"):
        load(folder)


def test_a_mask_is_added_behind_a_tokenizer_that_is_one_short(tmp_path: Path, fields, generator) -> None:
    fields |= {"vocab_size": 11}
    given = words(10, **ENDS)
    folder = write(tmp_path / "published", fields, published_weights(fields, generator))
    found = load(folder, tokenizer=given)
    assert (len(found.tokenizer), found.tokenizer.mask_token, found.tokenizer.mask_token_id) == (11, "<mask>", 10)
    assert (len(given), given.mask_token) == (10, None)
    assert len(load(found.save(tmp_path / "ours")).tokenizer) == 11
    if fields["model_type"] == "mdlm":
        assert found.objective().process.mask_id == 10


def test_a_tokenizer_of_gpt2_s_kind_has_padding_where_the_mask_is(tmp_path: Path, generator) -> None:
    """Read from its folder, it gets `[PAD]` behind its last symbol: the published code counts its mask there."""
    words(10, **ENDS).save_pretrained(tmp_path / "tokenizer")
    fields = {**MDLM, "vocab_size": 11}
    found = load(
        write(tmp_path / "published", fields, published_weights(fields, generator)), tokenizer=tmp_path / "tokenizer"
    )
    assert (len(found.tokenizer), found.tokenizer.mask_token_id, found.tokenizer.pad_token_id) == (11, 10, 10)
    assert found.objective().process.mask_id == 10


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (words(9, **ENDS), "of 11 symbols for .*, got one of 9"),
        (words(12, **ENDS), "of 11 symbols for .*, got one of 12"),
        (words(10, mask_token="[M]", **ENDS), "of 11 symbols for .*, got one of 10"),
        (words(11, **ENDS), "a tokenizer with a mask for .*, or one of 10 symbols"),
    ],
)
def test_another_model_s_tokenizer_is_refused(tmp_path: Path, generator, tokenizer, message: str) -> None:
    fields = {**MDLM, "vocab_size": 11}
    with pytest.raises(ValueError, match=message):
        load(write(tmp_path / "published", fields, published_weights(fields, generator)), tokenizer=tokenizer)


def test_a_uniform_model_needs_no_mask(tmp_path: Path, generator) -> None:
    fields = {**UDLM, "vocab_size": 11}
    folder = write(tmp_path / "published", fields, published_weights(fields, generator))
    assert load(folder, tokenizer=words(11, **ENDS)).tokenizer.mask_token is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("backbone.blocks.1.mlp.2.bias"), r"without backbone\.blocks\.1\.mlp\.2\.bias\.$"),
        (lambda w: w.update(extra=torch.zeros(1)), r"with unknown extra\.$"),
        (lambda w: w.update({"backbone.extra": torch.zeros(1)}), r"with unknown backbone\.extra\.$"),
        (
            lambda w: w.update({"backbone.output_layer.linear.bias": torch.zeros(3)}),
            rf"output_layer\.linear\.bias has the shape \(3,\) and not \({VOCAB},\)",
        ),
        (
            lambda w: [w.pop(name) for name in list(w) if ".blocks.0." in name],
            "without .*attn_qkv.*, .* and 5 more",
        ),
        (
            lambda w: w.update({"backbone.rotary_emb.inv_freq": w["backbone.rotary_emb.inv_freq"] ** 1.1}),
            "turns its heads by other angles",
        ),
        (lambda w: w.update({"backbone.rotary_emb.inv_freq": torch.ones(7)}), "turns its heads by other angles"),
    ],
)
def test_weights_that_are_missing_or_not_understood_are_named(
    tmp_path: Path, fields, weights, change, message: str
) -> None:
    change(weights)
    with pytest.raises(ValueError, match=message):
        load(write(tmp_path / "published", fields, weights), tokenizer=TOKENIZER)


def test_a_network_without_its_frequencies_is_read(tmp_path: Path, fields, weights, generator) -> None:
    """Later versions of transformers do not save them."""
    frequencies = weights.pop("backbone.rotary_emb.inv_freq")
    found = load(write(tmp_path / "published", fields, weights), tokenizer=TOKENIZER)
    same_model(found, by_hand(fields, {**weights, "backbone.rotary_emb.inv_freq": frequencies}), generator)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_heads": None}, "Expected `n_heads` >= 1 .*, got None"),
        ({"n_heads": 3}, "The sizes in config.json of .* do not fit: .*multiple of"),
        ({"hidden_dim": "16"}, "Expected `hidden_dim` >= 1 .*, got '16'"),
        ({"cfg_num_classes": -1, "cfg": True}, "Expected `cfg_num_classes` >= 1 .*, got -1"),
        ({"time_conditioning": "yes"}, "true or false .*'yes'"),
        ({"n_blocks": 3}, r"without backbone\.blocks\.2\..* and 5 more"),
        ({"dropout": 2}, "do not fit: Expected 0 <= `dropout` < 1, got 2.0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(tmp_path: Path, fields, weights, change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(write(tmp_path / "published", {**fields, **change}, weights), tokenizer=TOKENIZER)


@pytest.mark.parametrize("name", ["vocab_size", "model_length", "hidden_dim", "cond_dim", "n_blocks", "n_heads"])
def test_a_size_that_is_missing_is_named(tmp_path: Path, fields, weights, name: str) -> None:
    del fields[name]
    with pytest.raises(ValueError, match=f"Expected '{name}' in config.json"):
        load(write(tmp_path / "published", fields, weights), tokenizer=TOKENIZER)


def test_a_model_without_labels_says_so_by_minus_one(tmp_path: Path, generator) -> None:
    fields = {**UDLM, "cfg": False, "cfg_num_classes": -1}
    found = load(write(tmp_path / "published", fields, published_weights(fields, generator)), tokenizer=TOKENIZER)
    assert (found.label, found.network.num_classes) == (None, None)


class Runs:
    """What a pickle would do when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize("content", [{"backbone.x": Runs()}, {"backbone.x": "text"}, [torch.zeros(1)]])
def test_a_pickle_of_anything_but_tensors_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields, content: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path / "published", fields, {})
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"Expected (weights|a dictionary of tensors) in .*pytorch_model\.bin"):
        load(folder, tokenizer=TOKENIZER)
    assert not (tmp_path / "ran").exists()


def test_damaged_or_missing_weights_are_one_line(tmp_path: Path, fields, weights) -> None:
    folder = write(tmp_path / "published", fields, weights, "sharded safetensors")
    part = folder / "model-00002-of-00003.safetensors"
    part.write_bytes(part.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"model-00002-of-00003\.safetensors.* cannot be read"):
        load(folder, tokenizer=TOKENIZER)
    part.unlink()
    with pytest.raises(FileNotFoundError, match=r"not beside it: model-00002-of-00003\.safetensors"):
        load(folder, tokenizer=TOKENIZER)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(FileNotFoundError, match="not beside it"):
        load(folder, tokenizer=TOKENIZER)
    index.write_text("{}")
    with pytest.raises(ValueError, match="which file holds which weight"):
        load(folder, tokenizer=TOKENIZER)
    index.unlink()
    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors and no pytorch_model\.bin"):
        load(folder, tokenizer=TOKENIZER)


def test_of_another_model_only_what_is_ours_is_read(tmp_path: Path, fields, weights) -> None:
    folder = write(tmp_path / "published", {**fields, "model_type": "bert"}, weights)
    with pytest.raises(ValueError, match="Expected a checkpoint of format"):
        load(folder, tokenizer=None)
