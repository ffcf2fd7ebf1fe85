"""`trainer convert` on files that Lightning itself has written."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from torch import Tensor, nn

from discrete_diffusion.backbones import DiT, DiTClassifier
from discrete_diffusion.checkpoints import load, load_classifier
from discrete_diffusion.datasets import molecules, smiles_tokenizer, text8_tokenizer
from discrete_diffusion.guidance import ClassifierBased, ClassifierFree
from discrete_diffusion.trainer import __main__

CONFIG = {
    "mode": "train",
    "diffusion": "uniform",
    "backbone": "dit",
    "parameterization": "d3pm",
    "time_conditioning": True,
    "subs_masking": False,
    "T": 0,
    "is_vision": False,
    "loader": {"global_batch_size": 4, "batch_size": "${div_up:${.global_batch_size}, 2}"},
    "sampling": {"steps": 5, "batch_size": "${loader.eval_batch_size}"},
    "training": {"ema": 0.9999, "sampling_eps": 1e-3, "guidance": {"cond_dropout": 0.1}},
    "data": {
        "train": "molecules",
        "tokenizer_name_or_path": "somebody/tokenizer",
        "label_col": "qed",
        "label_col_pctile": 80,
        "num_classes": 2,
    },
    "model": {
        "name": "small",
        "hidden_size": 16,
        "cond_dim": 8,
        "length": 40,
        "n_blocks": 1,
        "n_heads": 2,
        "scale_by_sigma": True,
        "dropout": 0.1,
    },
    "classifier_backbone": "dit",
    "classifier_model": {
        "hidden_size": 16,
        "cond_dim": 8,
        "n_blocks": 1,
        "n_heads": 2,
        "scale_by_sigma": True,
        "dropout": 0.1,
        "num_classes": "${data.num_classes}",
    },
    "noise": {"type": "loglinear", "sigma_min": 1e-4, "sigma_max": 20},
}


class Diffusion(L.LightningModule):
    """Laid out as the published module: a backbone with rotary frequencies, and averages of its parameters."""

    def __init__(self, config: Any, tokenizer: Any) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.backbone = DiT(len(tokenizer), 16, 1, 2, cond_size=8, num_classes=2)
        self.backbone.rotary_emb = nn.Module()
        self.backbone.rotary_emb.register_buffer("inv_freq", 10_000.0 ** (-torch.arange(4) / 4))
        for parameter in self.backbone.parameters():
            nn.init.normal_(parameter, std=0.3)
        self.shadows = [parameter.detach().clone() for parameter in self.backbone.parameters()]

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        """Any loss: the weights are to move away from their averages."""
        return self.backbone(batch, torch.ones(len(batch))).square().mean()

    def configure_optimizers(self) -> Any:
        """As theirs, with a schedule."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The averages beside the weights."""
        checkpoint["ema"] = {"decay": 0.9999, "num_updates": 2, "shadow_params": self.shadows}
        checkpoint["sampler"] = {"random_state": None}


class Classifier(L.LightningModule):
    """Laid out as the published module."""

    def __init__(self, config: Any, tokenizer: Any) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.classifier_model = DiTClassifier(len(tokenizer), 16, 1, 2, 2, cond_size=8, final_norm=False)
        self.classifier_model.output_layer = self.classifier_model.linear
        del self.classifier_model.linear
        for parameter in self.classifier_model.parameters():
            nn.init.normal_(parameter, std=0.3)

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        """Any loss."""
        return torch.stack([parameter.square().sum() for parameter in self.parameters()]).sum()

    configure_optimizers = Diffusion.configure_optimizers


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return smiles_tokenizer(molecules(200)["canonical_smiles"])


def fitted(module: L.LightningModule, folder: Path, symbols: int) -> Path:
    """A file written by a real `Trainer`."""
    trainer = L.Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[L.pytorch.callbacks.ModelCheckpoint(dirpath=folder / "kept", save_last=True)],
    )
    batches = torch.randint(symbols, (4, 40)).split(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning about its own pieces and too few workers
        trainer.fit(module, torch.utils.data.DataLoader(list(batches), batch_size=None))
    trainer.save_checkpoint(folder / "last.ckpt")
    return folder / "last.ckpt"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> tuple[Path, Diffusion]:
    """A file written by a real `Trainer`, and the module that it is of."""
    folder = tmp_path_factory.mktemp("published")
    module = Diffusion(OmegaConf.create(CONFIG), tokenizer)
    return fitted(module, folder, len(tokenizer)), module


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> tuple[Path, Classifier]:
    """The same of a classifier."""
    module = Classifier(OmegaConf.create(CONFIG), tokenizer)
    return fitted(module, tmp_path_factory.mktemp("classifier"), len(tokenizer)), module


@pytest.fixture
def convert(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Run `trainer convert` in an empty folder; its exit code."""

    def convert(*arguments: object) -> int:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["trainer", "convert", *map(str, arguments)])
        try:
            __main__.main()
        except SystemExit as stop:
            return int(stop.code or 0)
        finally:
            GlobalHydra.instance().clear()
        return 0

    return convert


def test_from_lightning_to_guided_samples(
    convert: Callable[..., int],
    trained: tuple[Path, Diffusion],
    tokenizer: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    generator: torch.Generator,
):
    path, module = trained
    assert convert(path, "made") == 0
    output = capsys.readouterr().out
    assert "the averaged weights of step 2 in" in output
    assert "Uniform, " in output
    assert "Ignored or different here" not in output
    model = load(tmp_path / "made")
    expected = DiT(len(tokenizer), 16, 1, 2, cond_size=8, num_classes=2).eval()
    expected.load_state_dict(dict(zip((name for name, _ in expected.named_parameters()), module.shadows, strict=True)))
    xt, sigma, y = torch.randint(len(tokenizer), (2, 40)), torch.tensor([0.1, 2.0]), torch.tensor([0, 2])
    torch.testing.assert_close(model.network(xt, sigma, y), expected(xt, sigma, y), rtol=0, atol=0)
    assert not torch.allclose(model.network(xt, sigma, y), module.eval().backbone(xt, sigma, y), atol=0.01)
    guided = [lambda kernel: ClassifierFree(kernel, gamma=2.0, null_label=model.null_label)]
    ids = model.sample(2, y=1, on_kernel=guided, generator=generator)
    assert len(model.decode(ids)) == 2
    assert convert(path, "last", "--weights", "last") == 0
    last = load(tmp_path / "last").network
    torch.testing.assert_close(last(xt, sigma, y), module.backbone(xt, sigma, y), rtol=0, atol=0)


def test_with_data_it_is_ready_to_be_evaluated(
    convert: Callable[..., int], trained: tuple[Path, Diffusion], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path, _ = trained
    assert convert(path, "made", "--weights", "ema", "data=molecules", "data.rows.size=200") == 0
    assert "uv run evaluator checkpoint=made" in capsys.readouterr().out
    model = load(tmp_path / "made")
    data = model.data()
    assert model.label == data.label
    assert model.label is not None
    assert model.label.column == "qed"
    # class 1 is what lies above the percentile that the published configuration names
    assert (data.labels == 0).float().mean().item() == pytest.approx(0.8, abs=0.05)
    assert data.length == 40
    assert model.config["data"]["kind"] == "molecules"
    nats = model.objective().terms(model.denoiser(), data.validation["input_ids"][:2], generator=torch.Generator())
    assert torch.isfinite(nats.diffusion).all()


def test_the_tokenizer_of_an_override(
    convert: Callable[..., int], trained: tuple[Path, Diffusion], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path, _ = trained
    assert convert(path, "made", "tokenizer=text8") == 2
    assert "Expected a tokenizer of" in capsys.readouterr().err
    assert convert(path, "made", "tokenizer=smiles") == 2
    assert "numbers its symbols in another order than the model may" in capsys.readouterr().err
    text8_tokenizer().save_pretrained(tmp_path / "text8")
    assert convert(path, "made", "--tokenizer", tmp_path / "text8") == 2
    assert not (tmp_path / "made").exists()


def test_the_usual_tokenizer_of_the_data_where_the_source_has_none(
    convert: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    network = DiT(12, 16, 1, 2, cond_size=8)
    state = {f"backbone.{name}": weight for name, weight in network.state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": {"config": CONFIG}}, tmp_path / "a.ckpt")
    assert convert("a.ckpt", "made") == 2
    assert "its configuration names 'somebody/tokenizer'" in capsys.readouterr().err
    assert convert("a.ckpt", "made", "data=synthetic_species", "data.rows.size=40") == 0
    assert "there are no averaged weights" in capsys.readouterr().out
    model = load(tmp_path / "made")
    assert model.tokenizer.convert_ids_to_tokens(7) == "A"
    assert model.data().length == 40
    assert model.label is None


def test_a_classifier_steers_its_generator(
    convert: Callable[..., int],
    trained: tuple[Path, Diffusion],
    classifier: tuple[Path, Classifier],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    path, module = classifier
    assert convert(trained[0], "bare") == 0
    assert convert(trained[0], "made", "data=molecules", "data.rows.size=200") == 0
    capsys.readouterr()
    assert convert(path, "noisy", "--generator", "made") == 0
    output = capsys.readouterr().out
    size = sum(parameter.numel() for parameter in module.parameters())
    assert f"the classifier of step 2 in {path}: {size:,} parameters, 2 classes (qed <= " in output
    assert "  the file does not name its classes (data.label_col=qed, data.label_col_pctile=80): they are " in output
    assert "Written to noisy." in output
    assert output.endswith("  uv run evaluator checkpoint=made guidance=classifier_based classifier=noisy\n")
    found, model = load_classifier(tmp_path / "noisy"), load(tmp_path / "made")
    found.matches(model)
    assert found.label == model.label
    assert torch.equal(found.network.linear.weight, module.classifier_model.output_layer.weight)
    likelihood, symbols = found.likelihood(1), len(model.tokenizer)
    xt, t, s = torch.randint(symbols, (1, 40)), torch.tensor([0.5]), torch.tensor([0.4])
    jumps = xt.repeat(symbols, 1)
    jumps[:, 3] = torch.arange(symbols)
    with torch.no_grad():
        guided = ClassifierBased(model.kernel(), likelihood, gamma=5.0)(xt, t, s)[0, 3]
        expected = (model.kernel()(xt, t, s)[0, 3] + 5 * likelihood(jumps, t.expand(symbols))).log_softmax(-1)
    torch.testing.assert_close(guided, expected, rtol=0, atol=1e-4)
    assert convert(path, "noisy", "--generator", "bare", "--overwrite") == 0
    output = capsys.readouterr().out
    assert "2 classes (class 0, class 1), for bare." in output
    assert "load_classifier('noisy').likelihood(1)" in output
    assert "convert it again with data=NAME" in output


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["PATH", "noisy"], "which holds a classifier: `convert_classifier` reads"),
        (
            ["PATH", "noisy", "--generator", "made", "label=qed"],
            "Expected nothing of data, label,",
        ),
        (
            ["PATH", "noisy", "--generator", "made", "--tokenizer", "x"],
            "Expected nothing of data, label,",
        ),
        (
            ["PATH", "noisy", "--generator", "made", "--weights", "last"],
            "Expected nothing of data, label,",
        ),
        (["PATH", "noisy", "--generator", "none"], "Expected a checkpoint in none"),
        (["PATH", "made", "--generator", "made", "--overwrite"], "Expected another folder than that of the source"),
        (["GENERATOR", "noisy", "--generator", "made"], "which holds a generator: `convert` reads it"),
    ],
)
def test_what_does_not_go_with_a_classifier_is_one_line(
    convert: Callable[..., int],
    trained: tuple[Path, Diffusion],
    classifier: tuple[Path, Classifier],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    line: str,
):
    assert convert(trained[0], "made") == 0
    capsys.readouterr()
    files = {"PATH": str(classifier[0]), "GENERATOR": str(trained[0])}
    assert convert(*(files.get(one, one) for one in arguments)) == 2
    output = capsys.readouterr().err
    assert output.startswith("convert: ")
    assert line in output
    assert output.count("\n") == 1
    assert not (tmp_path / "noisy").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["none.ckpt", "made"], "convert: Expected a checkpoint of Lightning in none.ckpt, but there is no such file."),
        (["text.ckpt", "made"], "convert: text.ckpt cannot be read as a checkpoint of Lightning: "),
        (["PATH", "full"], "convert: full holds something that is no checkpoint: name a new folder."),
        (["PATH", "made", "model=mdlm"], "convert: Expected overrides of data, label, tokenizer, got model."),
        (["PATH", "made", "data=moleculs"], "convert: There is no data/moleculs: choose one of amazon_polarity, "),
        (["PATH", "made", "data=molecules", "data.rows.siz=2"], "convert: Could not override 'data.rows.siz'."),
        (["PATH", "made", "data=qm9", "data.path=none.csv"], "convert: Expected a CSV, "),
        (["PATH", "made", "label=qed"], "convert: Expected `data=NAME` beside the other overrides"),
        (
            ["PATH", "made", "data=molecules", "data.rows.size=200", "label=none"],
            "convert: Expected a label of 2 classes",
        ),
        (["PATH", "made", "data=synthetic_species"], "convert: "),
    ],
)
def test_what_a_person_can_mend_is_one_line(
    convert: Callable[..., int],
    trained: tuple[Path, Diffusion],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    line: str,
):
    (tmp_path / "text.ckpt").write_text("nothing")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").write_text("")
    assert convert(*(str(trained[0]) if one == "PATH" else one for one in arguments)) == 2
    output = capsys.readouterr().err
    assert output.startswith(line)
    assert output.count("\n") == 1
    assert not (tmp_path / "made").exists()


def test_help_waits_for_nothing(convert: Callable[..., int], capsys: pytest.CaptureFixture[str]):
    assert convert("--help") == 0
    assert "a .ckpt, a folder" in capsys.readouterr().out
    assert convert("only-one") == 2
