"""Masked language models whose own code takes a noise level and a label, as published UDLM and MDLM checkpoints do."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from discrete_diffusion.backbones.huggingface_masked_lm import HuggingFaceMaskedLM

pytest.importorskip("transformers")

VOCAB, CLASSES, BATCH = 9, 2, 3
CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import MaskedLMOutput


class OwnConfig(PretrainedConfig):
    model_type = "own"

    def __init__(self, vocab_size=9, cfg=False, cfg_num_classes=-1, time_conditioning=True, **rest):
        super().__init__(**rest)
        self.vocab_size, self.cfg, self.cfg_num_classes = vocab_size, cfg, cfg_num_classes
        self.time_conditioning = time_conditioning


class Own(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.table = torch.nn.Parameter(torch.randn(config.vocab_size, config.vocab_size))
        self.labels = torch.nn.Parameter(torch.randn(max(config.cfg_num_classes, 0) + 1, config.vocab_size))
        self.post_init()

    def forward(self, input_ids=None, timesteps=None, cond=None):
        logits = self.table[input_ids]
        if self.config.time_conditioning:
            logits = logits * (1 + timesteps)[:, None, None]
        if cond is not None:
            logits = logits + self.labels[cond][:, None]
        return MaskedLMOutput(logits=logits)
"""


@pytest.fixture(params=[True, False], ids=["with labels and time", "without"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from safetensors.torch import save_file

    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    where = tmp_path / "weights"
    where.mkdir()
    (where / "own.py").write_text(CODE, encoding="utf-8")
    config = {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForMaskedLM": "own.Own"},
        "vocab_size": VOCAB,
        "cfg": request.param,
        "cfg_num_classes": CLASSES if request.param else -1,
        "time_conditioning": request.param,
    }
    (where / "config.json").write_text(json.dumps(config), encoding="utf-8")
    generator = torch.Generator().manual_seed(0)
    rows = CLASSES + 1 if request.param else 1
    weights = {"table": (VOCAB, VOCAB), "labels": (rows, VOCAB)}
    drawn = {name: torch.randn(shape, generator=generator) for name, shape in weights.items()}
    save_file(drawn, where / "model.safetensors", metadata={"format": "pt"})
    return where


@pytest.fixture
def network(folder: Path) -> HuggingFaceMaskedLM:
    return HuggingFaceMaskedLM.from_pretrained(str(folder), vocab_size=VOCAB, trust_remote_code=True).eval()


@pytest.fixture
def xt(generator: torch.Generator) -> Tensor:
    return torch.randint(VOCAB, (BATCH, 5), generator=generator)


@torch.no_grad()
def test_noise_level_and_label_are_what_the_model_is_called_with(
    network: HuggingFaceMaskedLM, xt: Tensor, generator: torch.Generator
) -> None:
    sigma, at = torch.rand(BATCH, generator=generator), xt > 3
    labelled = network.model.config.cfg
    assert network.time_conditioning == labelled
    assert (network.num_classes, network.vocab_size) == (CLASSES if labelled else None, VOCAB)
    for y in (torch.tensor([0, 1, CLASSES]), None) if labelled else (None,):
        # No label is the null label, as in the DiT.
        cond = torch.full((BATCH,), CLASSES) if labelled and y is None else y
        logits = network.model(input_ids=xt, timesteps=sigma, cond=cond).logits
        assert torch.equal(network(xt, sigma, y), logits)
        assert torch.equal(network(xt, sigma, y, at), logits[at])
        assert torch.equal(network(xt, 2 * sigma, y), logits) != labelled
    assert not hasattr(network, "encode")
    if not labelled:
        with pytest.raises(ValueError, match="`y` to be None"):
            network(xt, sigma, torch.zeros(BATCH, dtype=torch.int64))


def test_a_table_that_cannot_be_resized_is_reported(folder: Path, network: HuggingFaceMaskedLM) -> None:
    assert network.blueprint["vocab_size"] == VOCAB
    with pytest.raises(ValueError, match="Expected `vocab_size` = 9, the size of Own, got 10"):
        HuggingFaceMaskedLM.from_pretrained(str(folder), vocab_size=VOCAB + 1, trust_remote_code=True)


def test_its_code_is_run_only_where_it_is_trusted(folder: Path) -> None:
    with pytest.raises(ValueError, match="Pass `trust_remote_code=True`"):
        HuggingFaceMaskedLM.from_pretrained(str(folder))
