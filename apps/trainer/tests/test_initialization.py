"""Training that starts from published weights, and from a run of ours."""

import json
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.backbones import DiT
from discrete_diffusion.checkpoints import load
from discrete_diffusion.datasets import molecules, smiles_tokenizer
from discrete_diffusion.processes import ContinuousNELBO
from discrete_diffusion.trainer.initialization import continued, initial_checkpoint

KINDS = ["label=category", "label.column=kind"]
STEPS = ["steps=2", "validate_every=2", "preview.samples=2"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """A tokenizer of every symbol that the molecules have."""
    return smiles_tokenizer(molecules(size=300, seed=0)["canonical_smiles"])


@pytest.fixture
def published(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A published UDLM of two classes, tokenizer included, with random weights."""
    folder = tmp_path / "published"
    tokenizer.save_pretrained(folder)
    vocab = len(tokenizer)
    network = DiT(vocab, 16, 1, 2, cond_size=8, num_classes=2)
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    fields = {
        "model_type": "udlm",
        "vocab_size": vocab,
        "model_length": 24,
        "hidden_dim": 16,
        "cond_dim": 8,
        "n_blocks": 1,
        "n_heads": 2,
        "dropout": 0.0,
        "time_conditioning": True,
        "cfg": True,
        "cfg_num_classes": 2,
    }
    (folder / "config.json").write_text(json.dumps(fields))
    named = {f"backbone.{name}": weight.detach() for name, weight in network.state_dict().items()}
    save_file(named, folder / "model.safetensors")
    return folder


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, ...]]:
    """Return the arguments and the loss of each training step."""
    seen: list[tuple[Tensor, ...]] = []
    loss = ContinuousNELBO.loss

    def kept(self, denoiser, x0, y=None, *, generator):
        state = generator.get_state()
        nats = loss(self, denoiser, x0, y, generator=generator)
        seen.append((x0, y, state, nats.detach()))
        return nats

    monkeypatch.setattr(ContinuousNELBO, "loss", kept)
    return seen


@pytest.mark.parametrize("spelling", ["ours", "published"])
def test_training_starts_from_published_weights(
    run, tmp_path: Path, published: Path, losses: list[tuple[Tensor, ...]], spelling: str
):
    options = [f"initial={published}"]
    if spelling == "published":
        options = ["backbone=hf_dit", "model=hf", f"model.pretrained_model_name_or_path={published}"]
    original = load(published)
    made = run(tmp_path / "run", *options, *STEPS, small=False)

    x0, y, state, nats = losses[0]
    noise = torch.Generator()
    noise.set_state(state)
    with torch.no_grad():
        expected = original.objective().loss(original.denoiser(), x0, y, generator=noise)
    torch.testing.assert_close(nats, expected)

    published.rename(tmp_path / "gone")
    found = load(tmp_path / "run" / "checkpoint")
    before, after = original.network.state_dict(), found.network.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in made.network.state_dict().items())
    assert not all(torch.equal(after[name], before[name]) for name in before)
    assert found.config["backbone"] == original.config["backbone"]
    assert found.config["model"] == original.config["model"]
    assert found.tokenizer.get_vocab() == original.tokenizer.get_vocab()
    # Data and label are the command line's; where it does not say how long, sequences are as long as they were.
    assert found.label.column == "qed"
    assert (found.length, found.config["data"]["kind"]) == (24, "molecules")
    assert len(found.data().train) > 0
    assert "published" not in json.dumps(found.config)


def test_training_starts_from_a_run(run, generator_run, tmp_path: Path):
    first = generator_run("mdlm")
    still = ["optimizer.muon.lr=0", "optimizer.adamw.lr=0"]
    made = run(tmp_path / "run", f"initial={first}", *STEPS, *still, small=False)
    before = load(first / "checkpoint")
    for name, weight in before.network.state_dict().items():
        torch.testing.assert_close(made.network.state_dict()[name], weight)
    assert made.config["model"] == before.config["model"]
    assert made.label == before.label


def test_dropout_is_on_again(configure, published: Path, tmp_path: Path):
    """A checkpoint is read for use; training needs the other mode."""
    config = configure(f"initial={published}", output=tmp_path)
    initial = initial_checkpoint(config, [])
    assert not initial.network.training
    data = type("Data", (), {"label": initial.label, "values": None, "length": 5})()
    made = continued(initial, {"kind": "strings"}, data)
    assert made.network.training
    assert made.length == 5


@pytest.mark.parametrize(
    "override",
    [
        "model=mdlm",
        "model.sampler.steps=5",
        "backbone=dit_tiny",
        "backbone.dropout=0.5",
        "schedule=linear",
        "parameterization=mean",
        "objective=nelbo",
        "tokenizer=letters",
    ],
)
def test_what_the_checkpoint_brings_is_refused_on_the_command_line(run, tmp_path: Path, published: Path, override: str):
    with pytest.raises(ValueError, match=f"Expected no `{override}`: model, backbone and tokenizer are those of"):
        run(tmp_path / "run", f"initial={published}", override, small=False)


def test_what_an_experiment_says_of_them_is_passed_over(configure, tmp_path: Path, published: Path):
    overrides = [f"initial={published}", "experiment=qm9"]
    initial = initial_checkpoint(configure(*overrides, output=tmp_path), overrides)
    assert initial.config == load(published).config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model=hf"], "name it by `model=hf model.pretrained_model_name_or_path=`"),
        (["model=hf", "backbone=hf_dit"], "name it by `model=hf model.pretrained_model_name_or_path=`"),
        (["backbone=hf_dit"], "name it by `model=hf model.pretrained_model_name_or_path=`"),
        (["initial={published}", "model=hf", "model.pretrained_model_name_or_path=x"], "`initial` or .*, not both"),
        (["initial={published}", "label=none"], "Expected a `label` of 2 classes, as the network has, got no `label`"),
        (
            ["initial={published}", "data=table", "data.path={words}", "data.column=word", *KINDS],
            "Expected a `label` of 2 classes, as the network has, got 3",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(run, tmp_path: Path, published: Path, options: list[str], message: str):
    words = tmp_path / "words.csv"
    words.write_text("word,kind\n" + "".join(f"{'C' * (i % 5 + 1)},{'xyz'[i % 3]}\n" for i in range(60)))
    filled = [option.format(published=published, words=words) for option in options]
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run", *filled, small=False)


def test_labels_for_a_network_without_them_are_refused(run, generator_run, tmp_path: Path):
    first = generator_run("udlm", "label=none")
    with pytest.raises(ValueError, match="Expected `label=none`: the network to start from was trained without"):
        run(tmp_path / "run", f"initial={first}", small=False)


def test_a_model_without_a_tokenizer_takes_the_configuration_s(
    run, configure, tmp_path: Path, published: Path, tokenizer: PreTrainedTokenizerBase
):
    (tmp_path / "bare").mkdir()
    for name in ("config.json", "model.safetensors"):
        (published / name).rename(tmp_path / "bare" / name)
    options = [f"initial={tmp_path / 'bare'}", *STEPS]
    with pytest.raises(ValueError, match=r"choose it by `tokenizer=pretrained tokenizer\.name_or_path=`"):
        run(tmp_path / "made", *options, small=False)
    chosen = ["tokenizer=pretrained", f"tokenizer.name_or_path={published}"]
    assert instantiate(configure(*chosen, output=tmp_path).tokenizer).get_vocab() == tokenizer.get_vocab()
    made = run(tmp_path / "run", *options, *chosen, small=False)
    assert made.tokenizer.get_vocab() == tokenizer.get_vocab()
