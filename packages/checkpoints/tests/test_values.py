"""Checkpoints of generators that are conditional on numbers."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_diffusion.backbones import DiT
from discrete_diffusion.checkpoints import Checkpoint, export, load
from discrete_diffusion.datasets import FittedValueLabel
from discrete_diffusion.guidance import ClassifierFree

VALUES = FittedValueLabel(("qed", "logp"), (0.5, 2.0), (0.1, 4.0))


@pytest.fixture
def model(checkpoint: Checkpoint) -> Checkpoint:
    """The tiny generator with numbers instead of classes, and with weights large enough to show them."""
    backbone = {**checkpoint.config["backbone"], "num_classes": None, "num_values": 2}
    network = DiT(**{name: value for name, value in backbone.items() if name != "_target_"}).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.25, generator=generator)
    config = {**checkpoint.config, "backbone": backbone, "label": VALUES.to_dict()}
    return replace(checkpoint, config=config, network=network, label=None, values=VALUES)


def drawn(model: Checkpoint, y: Any, gamma: float | None = None) -> Tensor:
    null = model.null_label
    assert null is not None
    options = {} if gamma is None else {"on_kernel": [partial(ClassifierFree, gamma=gamma, null_label=null)]}
    return model.sample(8, y=y, seed=0, **options)


def test_a_checkpoint_is_saved_and_samples_the_same(model: Checkpoint, tmp_path: Path):
    model.save(tmp_path / "model")
    found = load(tmp_path / "model")
    assert (found.values, found.label, found.null_label) == (VALUES, None, model.null_label)
    assert "conditional on qed, logp" in found.describe()
    assert torch.equal(drawn(found, [0.9, 2.5]), drawn(model, [0.9, 2.5]))


def test_different_numbers_give_different_samples(model: Checkpoint):
    base = drawn(model, [0.9, 2.5])
    assert torch.equal(base, drawn(model, {"logp": 2.5, "qed": 0.9}))
    assert torch.equal(drawn(model, {"qed": 0.9}), drawn(model, [0.9, None]))
    for other in ([0.3, 2.5], [0.9, -9.0], {"qed": 0.9}, None):
        assert not torch.equal(base, drawn(model, other)), other


def test_each_sample_may_have_its_own_numbers(model: Checkpoint):
    rows = torch.tensor([[0.9, 2.5], [0.3, torch.nan]] * 4)
    own = drawn(model, rows)
    assert torch.equal(own[::2], drawn(model, [0.9, 2.5])[::2])
    assert torch.equal(own[1::2], drawn(model, {"qed": 0.3})[1::2])


def test_guidance_ranges_from_no_condition_over_the_numbers_to_beyond(model: Checkpoint):
    y = [0.9, 2.5]
    assert torch.equal(drawn(model, y, 0.0), drawn(model, None))
    assert torch.equal(drawn(model, y, 1.0), drawn(model, y))
    assert not torch.equal(drawn(model, y, 4.0), drawn(model, y))


def test_hidden_states_have_the_numbers_of_a_request(model: Checkpoint):
    denoiser: Any = model.requesting([0.9, 2.5], {"qed": 0.3}).denoiser()
    xt, t, y = torch.ones(3, 12, dtype=torch.long), torch.full((3,), 0.5), torch.tensor([0, 1, model.null_label])
    numbers = torch.stack([torch.from_numpy(VALUES.request([0.9, 2.5])), torch.from_numpy(VALUES.request([0.3, None]))])
    plain: Any = model.denoiser()
    with torch.no_grad():
        found = denoiser(xt, t, y=y)
        torch.testing.assert_close(found, denoiser.decode(denoiser.encode(xt, t, y=y), xt, t, y=y))
        torch.testing.assert_close(found[:2], plain(xt[:2], t[:2], y=numbers))
        torch.testing.assert_close(found[2:], plain(xt[2:], t[2:]))


def test_infills_with_numbers(model: Checkpoint):
    strings = model.complete("CC_", 3, y={"qed": 0.9}, seed=0)
    assert len(strings) == 3


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (0.9, r"Expected 2 numbers, of qed, logp, got \[0.9\]"),
        ({"weight": 1.0}, "Expected numbers of qed, logp, got weight"),
        (torch.zeros(8), r"Expected numbers of qed, logp in `y`, \(8, 2\), got \(8,\)"),
    ],
)
def test_refuses_other_numbers(model: Checkpoint, y: Any, message: str):
    with pytest.raises(ValueError, match=message):
        drawn(model, y)


def test_a_model_with_classes_refuses_numbers(checkpoint: Checkpoint):
    with pytest.raises(ValueError, match="Expected no numbers: this model is not conditional on any"):
        checkpoint.requesting(0.9)


def test_refuses_to_export(model: Checkpoint, tmp_path: Path):
    with pytest.raises(ValueError, match="one with numbers cannot be exported"):
        export(model, tmp_path / "exported")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"columns": ["qed"], "means": [0.0], "stds": [1.0]}, "label.json has 1 numbers and the network 2"),
        ({"columns": ["qed", "logp"], "means": [0.0, 0.0], "stds": [1.0, 0.0]}, "positive `stds`"),
    ],
)
def test_refuses_a_label_of_another_model(model: Checkpoint, tmp_path: Path, label: dict[str, Any], message: str):
    model.save(tmp_path / "model")
    (tmp_path / "model" / "label.json").write_text(json.dumps(label))
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "model")
