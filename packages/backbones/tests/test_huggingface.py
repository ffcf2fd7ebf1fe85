"""Language models of transformers, tiny and built here, as networks."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_diffusion.backbones.huggingface_causal_lm import HuggingFaceCausalLM
from discrete_diffusion.backbones.huggingface_masked_lm import HuggingFaceMaskedLM

pytest.importorskip("transformers")

VOCAB, HIDDEN, BATCH, LENGTH, POSITIONS = 11, 16, 3, 6, 32
SIZES = {"vocab_size": VOCAB, "hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 2}
MASKED: dict[str, dict[str, Any]] = {
    "bert": {**SIZES, "intermediate_size": 32, "max_position_embeddings": POSITIONS},
    "roberta": {**SIZES, "intermediate_size": 32, "max_position_embeddings": POSITIONS, "pad_token_id": 0},
    "modernbert": {
        **SIZES,
        "intermediate_size": 32,
        "max_position_embeddings": POSITIONS,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0),
    },
    # Its head calls a function between its modules: no chain.
    "distilbert": {"vocab_size": VOCAB, "dim": HIDDEN, "n_layers": 1, "n_heads": 2, "hidden_dim": 32},
}
CAUSAL: dict[str, dict[str, Any]] = {
    "gpt2": {"vocab_size": VOCAB, "n_embd": HIDDEN, "n_layer": 2, "n_head": 2, "n_positions": POSITIONS},
    "llama": {**SIZES, "num_key_value_heads": 1, "intermediate_size": 32, "max_position_embeddings": POSITIONS},
    # Its states are no keys and values.
    "mamba": {**SIZES, "state_size": 4},
    # Its configuration holds an infinity.
    "mamba2": {**SIZES, "state_size": 4, "num_heads": 4, "head_dim": 8, "n_groups": 1},
}


def masked(kind: str, vocab_size: int | None = None) -> HuggingFaceMaskedLM:
    torch.manual_seed(0)
    return HuggingFaceMaskedLM({"model_type": kind, **MASKED[kind]}, vocab_size).eval()


def causal(kind: str, vocab_size: int | None = None) -> HuggingFaceCausalLM:
    torch.manual_seed(0)
    return HuggingFaceCausalLM({"model_type": kind, **CAUSAL[kind]}, vocab_size).eval()


@pytest.fixture
def xt(generator: torch.Generator) -> Tensor:
    return torch.randint(1, VOCAB, (BATCH, LENGTH), generator=generator)


@pytest.fixture
def sigma(generator: torch.Generator) -> Tensor:
    return torch.rand(BATCH, generator=generator)


def every_network() -> list[Any]:
    return [(masked, kind) for kind in MASKED] + [(causal, kind) for kind in CAUSAL]


@pytest.mark.parametrize(("build", "kind"), every_network())
@torch.no_grad()
def test_logits_are_the_models(xt: Tensor, sigma: Tensor, build: Any, kind: str) -> None:
    network, at = build(kind), xt > 5
    logits = network.model(input_ids=xt).logits
    assert network.vocab_size == VOCAB
    assert logits.shape == (BATCH, LENGTH, VOCAB)
    torch.testing.assert_close(network(xt, sigma), logits, rtol=0, atol=1e-6)
    torch.testing.assert_close(network(xt, 5 * sigma, at=at), logits[at], rtol=0, atol=1e-6)
    assert network(xt, sigma, None, torch.zeros_like(at)).shape == (0, VOCAB)
    assert (network.time_conditioning, network.num_classes) == (False, None)
    assert network.causal == (build is causal)


@pytest.mark.parametrize(("build", "kind"), every_network())
@torch.no_grad()
def test_decode_of_encode_is_forward_where_they_exist(xt: Tensor, sigma: Tensor, build: Any, kind: str) -> None:
    network, at = build(kind), xt > 5
    assert hasattr(network, "encode") == hasattr(network, "decode") == (kind != "distilbert")
    if kind != "distilbert":
        hidden = network.encode(xt, sigma)
        assert hidden.shape == (BATCH, LENGTH, HIDDEN)
        torch.testing.assert_close(hidden, network.model(xt, output_hidden_states=True).hidden_states[-1])
        assert torch.equal(network.decode(hidden, sigma), network(xt, sigma))
        assert torch.equal(network.decode(hidden, sigma, None, at), network(xt, sigma, None, at))
        row, column = at.nonzero(as_tuple=True)
        tokens = network.decode_tokens(hidden[row, column], sigma[row])
        torch.testing.assert_close(tokens, network(xt, sigma, None, at))


@pytest.mark.parametrize(("build", "kind"), [(masked, "bert"), (masked, "distilbert"), (causal, "gpt2")])
def test_weights_come_back_from_a_folder(tmp_path: Path, xt: Tensor, sigma: Tensor, build: Any, kind: str) -> None:
    network = build(kind)
    network.model.half().save_pretrained(tmp_path)
    network.model.float()
    loaded = type(network).from_pretrained(str(tmp_path))
    assert loaded.training
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(loaded.eval()(xt, sigma), network(xt, sigma), rtol=0, atol=1e-5)
    assert json.dumps(loaded.blueprint).find(str(tmp_path)) == -1


@pytest.mark.parametrize(("build", "kind"), every_network())
def test_blueprint_and_state_dict_make_the_network_again(
    tmp_path: Path, xt: Tensor, sigma: Tensor, build: Any, kind: str
) -> None:
    from safetensors.torch import load_file, save_file

    network = build(kind)
    blueprint = json.loads(json.dumps(network.blueprint))
    name = blueprint.pop("_target_").rpartition(".")[2]
    assert name == type(network).__name__
    assert blueprint["vocab_size"] == VOCAB
    save_file(network.state_dict(), tmp_path / "model.safetensors")  # which refuses tensors that share memory
    again = type(network)(**blueprint).eval()
    assert not torch.equal(again(xt, sigma), network(xt, sigma))
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(again(xt, sigma), network(xt, sigma))


def test_tied_weights_stay_tied(xt: Tensor, sigma: Tensor) -> None:
    network = masked("bert")
    twin = copy.deepcopy(network)
    twin.load_state_dict({name: 0.5 * value for name, value in network.state_dict().items()})
    holder = nn.ModuleDict({"network": twin})
    holder.load_state_dict(holder.state_dict())
    for one in (network, twin):
        assert one.model.get_output_embeddings().weight is one.model.get_input_embeddings().weight
    assert not torch.equal(twin(xt, sigma), network(xt, sigma))
    missing = twin.state_dict()
    del missing["model.bert.embeddings.word_embeddings.weight"]
    with pytest.raises(RuntimeError, match="word_embeddings"):
        twin.load_state_dict(missing)


@pytest.mark.parametrize("vocab_size", [VOCAB + 2, VOCAB - 2])
@pytest.mark.parametrize(("build", "kind"), [(masked, "bert"), (masked, "modernbert"), (causal, "gpt2")])
@torch.no_grad()
def test_the_vocabulary_is_resized(tmp_path: Path, sigma: Tensor, build: Any, kind: str, vocab_size: int) -> None:
    network, xt = build(kind), torch.arange(1, 7).repeat(BATCH, 1)
    network.model.save_pretrained(tmp_path)
    resized = type(network).from_pretrained(str(tmp_path), vocab_size=vocab_size).eval()
    logits, kept = resized(xt, sigma), min(VOCAB, vocab_size)
    assert (logits.shape[-1], resized.vocab_size) == (vocab_size, vocab_size)
    torch.testing.assert_close(logits[..., :kept], network(xt, sigma)[..., :kept], rtol=0, atol=1e-5)
    if vocab_size > VOCAB:
        assert bool(resized(torch.full_like(xt, vocab_size - 1), sigma).isfinite().all())
    assert resized.blueprint["vocab_size"] == resized.blueprint["config"]["vocab_size"] == vocab_size
    assert build(kind, vocab_size)(xt, sigma).shape == logits.shape


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@torch.no_grad()
def test_every_split_of_a_causal_model_is_the_whole(xt: Tensor, sigma: Tensor, kind: str) -> None:
    network = causal(kind)
    expected = network.encode(xt, sigma)
    for lengths in ([LENGTH], [1, LENGTH - 1], [2, 2, 2], [1] * LENGTH):
        past: tuple[tuple[Tensor, Tensor], ...] | None = None
        hiddens: list[Tensor] = []
        for tokens in xt.split(lengths, 1):
            before = [tensor.clone() for pair in past or () for tensor in pair]
            hidden, extended = network.extend(tokens, sigma, None, past)
            assert all(torch.equal(a, b) for a, b in zip(before, (t for p in past or () for t in p), strict=True))
            past = extended
            hiddens.append(hidden)
        torch.testing.assert_close(torch.cat(hiddens, 1), expected, rtol=0, atol=1e-5)
        assert past is not None
        assert all(keys.shape[::2] == (BATCH, LENGTH) for keys, _ in past)
    # Cut to what a shorter prefix leaves.
    assert past is not None
    shorter = tuple((keys[:, :, :2], values[:, :, :2]) for keys, values in past)
    torch.testing.assert_close(network.extend(xt[:, 2:], sigma, past=shorter)[0], expected[:, 2:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_gradients_flow_through_mixtures_and_the_past(xt: Tensor, sigma: Tensor, kind: str) -> None:
    network = causal(kind).requires_grad_(False)
    onehots = nn.functional.one_hot(xt, VOCAB).float()
    _, past = network.extend(onehots[:, :4], sigma)
    leaves = [tensor.detach().clone().requires_grad_() for pair in past for tensor in pair]
    mixtures = onehots[:, 4:].requires_grad_()
    hidden, _ = network.extend(mixtures, sigma, None, tuple(zip(leaves[::2], leaves[1::2], strict=True)))
    torch.testing.assert_close(hidden, network.encode(xt, sigma)[:, 4:], rtol=0, atol=1e-5)
    gradients = torch.autograd.grad(hidden.square().sum(dim=-1).pow(2).sum(), [mixtures, *leaves])
    assert all(bool((gradient.abs() > 0).any()) for gradient in gradients)


def test_models_without_keys_and_values_have_no_extend() -> None:
    assert not hasattr(causal("mamba"), "extend")
    assert hasattr(causal("llama"), "extend")


@pytest.mark.parametrize(("build", "kind"), [(masked, "bert"), (masked, "distilbert"), (causal, "llama")])
def test_labels_and_long_sequences_are_refused(xt: Tensor, sigma: Tensor, build: Any, kind: str) -> None:
    network = build(kind)
    with pytest.raises(ValueError, match="`y` to be None: language models of Hugging Face have no labels"):
        network(xt, sigma, torch.zeros(BATCH, dtype=torch.int64))
    most = 512 if kind == "distilbert" else POSITIONS
    with pytest.raises(ValueError, match=f"at most {most} tokens, .* got {most + 1}"):
        network(torch.ones(BATCH, most + 1, dtype=torch.int64), sigma)


def test_a_prefix_counts_to_the_length(sigma: Tensor) -> None:
    network, tokens = causal("gpt2"), torch.ones(BATCH, POSITIONS, dtype=torch.int64)
    _, past = network.extend(tokens, sigma)
    with pytest.raises(ValueError, match=f"at most {POSITIONS} tokens, .* got {POSITIONS + 1}"):
        network.extend(tokens[:, :1], sigma, None, past)


def test_dropout_is_on_in_training_alone(xt: Tensor, sigma: Tensor) -> None:
    network = masked("bert")
    assert torch.equal(network(xt, sigma), network(xt, sigma))
    network.train()
    assert not torch.equal(network(xt, sigma), network(xt, sigma))


def test_what_is_no_such_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="AutoModelForMaskedLM at `name_or_path`"):
        HuggingFaceMaskedLM.from_pretrained(str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="`config` for AutoModelForMaskedLM, got model_type=None"):
        HuggingFaceMaskedLM({})
    with pytest.raises(ValueError, match="AutoModelForMaskedLM, got model_type=gpt2"):
        HuggingFaceMaskedLM({"model_type": "gpt2", **CAUSAL["gpt2"]})
    with pytest.raises(ValueError, match=r"AutoModelForMaskedLM, got model_type=bert: .*hidden_size"):
        HuggingFaceMaskedLM({"model_type": "bert", **MASKED["bert"], "hidden_size": "wide"})
    with pytest.raises(ValueError, match="`vocab_size` >= 1 or None, got 0"):
        masked("bert", 0)
    with pytest.raises(ValueError, match="is_decoder: true"):
        HuggingFaceCausalLM({"model_type": "bert", **MASKED["bert"]})
    assert HuggingFaceCausalLM({"model_type": "bert", "is_decoder": True, **MASKED["bert"]}).causal


def test_code_beside_the_weights_is_run_only_where_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xt: Tensor, sigma: Tensor
) -> None:
    folder = tmp_path / "weights"
    network = masked("bert")
    network.model.save_pretrained(folder)
    (folder / "own.py").write_text(
        "from transformers import BertConfig, BertForMaskedLM\n"
        "class OwnConfig(BertConfig):\n    model_type = 'own'\n"
        "class OwnModel(BertForMaskedLM):\n    config_class = OwnConfig\n",
        encoding="utf-8",
    )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForMaskedLM": "own.OwnModel"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ValueError, match="Pass `trust_remote_code=True`"):
        HuggingFaceMaskedLM.from_pretrained(str(folder))
    with pytest.raises(ValueError, match="got model_type=own"):
        HuggingFaceMaskedLM(config)

    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    trusted = HuggingFaceMaskedLM.from_pretrained(str(folder), trust_remote_code=True).eval()
    assert type(trusted.model).__name__ == "OwnModel"
    assert torch.equal(trusted(xt, sigma), network(xt, sigma))
    # There is no building it without its code: the blueprint names the place, and says what it takes to go there.
    assert trusted.blueprint == {
        "_target_": "discrete_diffusion.backbones.HuggingFaceMaskedLM.from_pretrained",
        "name_or_path": str(folder),
        "vocab_size": VOCAB,
        "trust_remote_code": True,
    }


def test_transformers_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys, discrete_diffusion.backbones.huggingface_masked_lm, "
        "discrete_diffusion.backbones.huggingface_causal_lm; assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
