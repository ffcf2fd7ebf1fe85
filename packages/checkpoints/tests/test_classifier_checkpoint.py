import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from discrete_diffusion.backbones import DiT, DiTClassifier, HiddenClassifier
from discrete_diffusion.checkpoints import (
    Checkpoint,
    ClassifierCheckpoint,
    describe_generator,
    load_classifier,
    newest_classifier,
)
from discrete_diffusion.datasets import ThresholdLabel, smiles_tokenizer

TOKENIZER = smiles_tokenizer(["CCO", "c1ccccc1", "[NH3+]"])
SCHEDULE = {"_target_": "discrete_diffusion.schedules.LogLinear", "eps": 1e-3}
PROCESS = {"_target_": "discrete_diffusion.processes.Uniform", "schedule": SCHEDULE, "vocab_size": len(TOKENIZER)}
LABEL = ThresholdLabel("qed", 0.5)


def randomized(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return network.eval()


def diffusion(process=PROCESS, *, length=12, tokenizer=TOKENIZER, time_conditioning=True, seed=0) -> Checkpoint:
    backbone = {"vocab_size": len(tokenizer), "hidden_size": 8, "num_blocks": 1, "num_heads": 2, "num_classes": 2}
    denoiser = {"_target_": "discrete_diffusion.processes.NetworkDenoiser", "_partial_": True, "process": process}
    network = randomized(DiT(**backbone, time_conditioning=time_conditioning), seed)
    backbone |= {"_target_": "discrete_diffusion.backbones.DiT", "time_conditioning": time_conditioning}
    config = {"model": {"denoiser": denoiser}, "backbone": backbone, "data": {"kind": "molecules"}, "length": length}
    return Checkpoint(config, network, tokenizer, LABEL)


def left_to_right(*, seed=0) -> Checkpoint:
    bare = diffusion(time_conditioning=False, seed=seed)
    denoiser = {"_target_": "discrete_diffusion.processes.NextToken", "_partial_": True, "bos_id": 0}
    return replace(bare, config={**bare.config, "model": {"denoiser": denoiser}})


def classifier(kind: str = "noisy", generator: Checkpoint | None = None, *, label=LABEL) -> ClassifierCheckpoint:
    generator = diffusion() if generator is None else generator
    sizes = {"hidden_size": 8, "num_outputs": 2}
    if kind == "hidden":
        network, name = HiddenClassifier(**sizes), "HiddenClassifier"
    else:
        sizes |= {"vocab_size": len(TOKENIZER), "num_blocks": 1, "num_heads": 2, "causal": kind == "prefix"}
        network, name = DiTClassifier(**sizes), "DiTClassifier"
    config = {
        "network": {"_target_": f"discrete_diffusion.backbones.{name}", **sizes},
        "process": generator.config["model"]["denoiser"].get("process") if kind in ("noisy", "hidden") else None,
        "quantity": None if label else {"column": "qed", "center": 0.5, "scale": 0.1},
        "generator": {"path": "outputs/run/checkpoint", **describe_generator(generator)},
    }
    return ClassifierCheckpoint(config, randomized(network), label, kind)


def edit(directory: Path, change) -> None:
    config = json.loads((directory / "config.json").read_text())
    change(config)
    (directory / "config.json").write_text(json.dumps(config))


X, T = torch.tensor([[0, 3, 4, 5], [0, 6, 5, 1]]), torch.tensor([0.2, 0.9])


@pytest.mark.parametrize("kind", ["noisy", "prefix", "hidden", "clean"])
@pytest.mark.parametrize("label", [LABEL, None])
def test_what_is_saved_is_what_is_loaded(tmp_path: Path, kind: str, label, generator: torch.Generator):
    made = classifier(kind, left_to_right() if kind == "prefix" else None, label=label)
    x = torch.randn(2, 4, 8, generator=generator) if kind == "hidden" else X
    where = made.save(tmp_path / "run" / "classifier")
    for path in (where, where.parent):
        found = load_classifier(path)
        assert (found.config, found.label, found.kind) == (made.config, made.label, made.kind)
        torch.testing.assert_close(found.predictor()(x, T), made.predictor()(x, T))
        assert not found.network.training
    assert [path.name for path in where.parent.iterdir()] == ["classifier"]


def test_a_failed_save_leaves_the_old_classifier(tmp_path: Path, monkeypatch):
    where = classifier().save(tmp_path / "classifier")

    def full(*_: object) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("discrete_diffusion.checkpoints.storage.save_file", full)
    with pytest.raises(OSError, match="No space"):
        classifier().save(where)
    load_classifier(where)
    assert [path.name for path in tmp_path.iterdir()] == ["classifier"]


def test_likelihoods_of_classes():
    made = classifier()
    log_probs = made.predictor()(X, T)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2))
    torch.testing.assert_close(made.likelihood()(X, T), log_probs[:, 1])
    torch.testing.assert_close(made.likelihood(0)(X, T), log_probs[:, 0])
    torch.testing.assert_close(made.likelihood(1, negate=True)(X, T), log_probs[:, 0])
    onehots = torch.nn.functional.one_hot(X, len(TOKENIZER)).float()
    torch.testing.assert_close(made.likelihood()(onehots, T), log_probs[:, 1])


def test_a_classifier_reads_the_noise_level_that_its_kind_does():
    late = torch.full((2,), 0.99)
    assert not torch.allclose(classifier("noisy").predictor()(X, T), classifier("noisy").predictor()(X, late))
    for kind in ("prefix", "clean"):
        assert torch.equal(classifier(kind).predictor()(X, T), classifier(kind).predictor()(X, late))


def test_likelihoods_of_a_number():
    made = classifier(label=None)
    mean, log_std = made.network(X, -torch.log1p(-0.999 * T)).unbind(-1)
    distribution = torch.distributions.Normal(0.5 + 0.1 * mean, 0.1 * log_std.exp())
    torch.testing.assert_close(made.likelihood(threshold=0.6)(X, T), (1 - distribution.cdf(torch.tensor(0.6))).log())
    below = made.likelihood(threshold=0.6, negate=True)
    torch.testing.assert_close(below(X, T), distribution.cdf(torch.tensor(0.6)).log())
    inside = distribution.cdf(torch.tensor(0.6)) - distribution.cdf(torch.tensor(0.5))
    torch.testing.assert_close(made.likelihood(threshold=[0.5, 0.6])(X, T), inside.log())
    torch.testing.assert_close(made.likelihood(threshold=(0.5, 0.6), negate=True)(X, T), (1 - inside).log())
    torch.testing.assert_close(made.likelihood(0.55)(X, T), distribution.log_prob(torch.tensor(0.55)))


def test_a_function_may_stand_around_the_network():
    made, shown = classifier(), []

    def watched(x, sigma):
        shown.append(len(x))
        return made.network(x, sigma)

    torch.testing.assert_close(made.likelihood(network=watched)(X, T), made.likelihood()(X, T))
    assert shown == [2]


@pytest.mark.parametrize(
    ("label", "arguments", "message"),
    [
        (LABEL, {"target": 2}, r"Expected `target` to be one of 0 \(qed <= 0.5\), 1 \(qed > 0.5\), got 2"),
        (LABEL, {"target": -1}, "got -1"),
        (LABEL, {"target": 0.5}, r"got 0\.5"),
        (LABEL, {"threshold": 0.5}, "Expected no `threshold` for a classifier"),
        (None, {"threshold": [0.6, 0.5]}, r"or \[low, high\] as `threshold`, got \[0\.6, 0\.5\]"),
        (None, {"threshold": [0.5]}, r"or \[low, high\] as `threshold`, got \[0\.5\]"),
        (None, {}, "Expected either a `target` value or a `threshold` for a regressor of 'qed'"),
        (None, {"target": 0.5, "threshold": 0.5}, "Expected either"),
        (None, {"target": 0.5, "negate": True}, "Expected no `negate` with a `target`"),
    ],
)
def test_conditions_that_there_are_not(label, arguments, message: str):
    with pytest.raises(ValueError, match=message):
        classifier(label=label).likelihood(**arguments)


OTHERS = {
    "schedule": diffusion({**PROCESS, "schedule": {**SCHEDULE, "_target_": "discrete_diffusion.schedules.Cosine"}}),
    "process": diffusion({**PROCESS, "_target_": "discrete_diffusion.processes.Absorbing", "mask_id": 2}),
    "left to right": left_to_right(),
    "vocabulary": diffusion(tokenizer=smiles_tokenizer(["CCN", "c1ccccc1", "[NH3+]"])),
    "time conditioning": diffusion(time_conditioning=False),
    "length": diffusion(length=14),
    "weights": diffusion(seed=1),
    "noise": diffusion(
        {
            "_target_": "discrete_diffusion.processes.Marginal",
            "schedule": SCHEDULE,
            "probabilities": [1 / len(TOKENIZER)] * len(TOKENIZER),
        }
    ),
}


@pytest.mark.parametrize(
    ("kind", "other", "message"),
    [
        ("noisy", "schedule", r"with the schedule LogLinear\(eps=0.001\), and this generator has the schedule Cosine"),
        ("noisy", "process", "with the process Uniform, and this generator has the process Absorbing"),
        ("noisy", "noise", "with the process Uniform, and this generator has the process Marginal"),
        ("noisy", "left to right", "has no noise: it goes from left to right"),
        ("noisy", "vocabulary", "with the vocabulary [0-9a-f]{8}, and this generator has the vocabulary [0-9a-f]{8}:"),
        ("noisy", "time conditioning", "with time conditioning on, and this generator has time conditioning off"),
        ("noisy", "length", "with sequences of 12 tokens, and this generator has sequences of 14 tokens"),
        ("hidden", "schedule", "with the schedule"),
        ("hidden", "weights", "with the weights [0-9a-f]{8}, and this generator has the weights [0-9a-f]{8}:"),
        ("clean", "vocabulary", "with the vocabulary"),
        ("clean", "length", "with sequences of 12"),
        ("prefix", "left to right", None),
    ],
)
def test_a_classifier_of_another_generator_is_refused_by_name(kind: str, other: str, message: str | None):
    made = classifier(kind)
    made.matches(diffusion())
    expected = message or "with the process Uniform, and this generator has no noise"
    with pytest.raises(ValueError, match=expected) as error:
        made.matches(OTHERS[other])
    assert str(error.value).endswith(f"it needs a {kind} classifier of its own.")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "other"),
    [("noisy", "weights"), ("clean", "weights"), ("clean", "schedule"), ("clean", "time conditioning")],
)
def test_what_makes_no_difference_is_none(kind: str, other: str):
    classifier(kind).matches(OTHERS[other])


def test_the_parameterization_of_the_network_is_none_of_a_classifier_s_business():
    mean = {"_target_": "discrete_diffusion.processes.Mean"}
    classifier().matches(diffusion({**PROCESS, "parameterization": mean}))


def test_the_noise_distribution_counts():
    flat = OTHERS["noise"]
    steep = {**flat.config["model"]["denoiser"]["process"], "probabilities": [0.5] + [0.5 / 12] * (len(TOKENIZER) - 1)}
    made = classifier("noisy", diffusion(steep))
    with pytest.raises(ValueError, match="with the noise distribution"):
        made.matches(flat)
    made.matches(diffusion(steep))


def test_a_folder_without_a_classifier_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"Expected a classifier in .* has no config\.json and no model"):
        load_classifier(tmp_path)


@pytest.mark.parametrize("file", ["config.json", "label.json"])
def test_only_errors_of_the_user_come_out(tmp_path: Path, file: str, mutate):
    mutate(classifier().save(tmp_path / "classifier") / file, load_classifier)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format=99), "Expected a classifier of format 2"),
        (lambda c: c.pop("generator"), "Expected 'generator' in"),
        (lambda c: c.update(kind="unknown"), "is not whole"),
        (lambda c: c["generator"].pop("weights"), "is not whole"),
        (lambda c: c["network"].update(hidden_size=16), "of shape"),
        (lambda c: c["network"].update(num_outputs=3), "of shape"),
        (lambda c: c["network"].update(pooling="median"), "cannot be read"),
        (lambda c: c["network"].update(_target_="os.system"), "builds `os.system` as `network`, which is not ours"),
        (lambda c: c["process"].update(vocab_size=0), "Expected one `vocab_size`"),
        (lambda c: c.update(process=None), "Expected a `process` for noisy"),
        (lambda c: c.update(quantity={"column": "qed", "center": 0, "scale": 1}), "expected no `quantity`"),
        (lambda c: c["network"].update(pooling=5), "another value of 'pooling'"),
    ],
)
def test_a_classifier_that_does_not_hang_together_is_refused(tmp_path: Path, change, message: str):
    where = classifier().save(tmp_path / "classifier")
    edit(where, change)
    with pytest.raises(ValueError, match=message) as error:
        load_classifier(where)
    assert "\n" not in str(error.value)


def test_damaged_files_are_named(tmp_path: Path):
    where = classifier().save(tmp_path / "classifier")
    (where / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"A part of the classifier .* cannot be read"):
        load_classifier(where)
    classifier().save(where)
    (where / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json cannot be read"):
        load_classifier(where)
    classifier().save(where)
    (where / "label.json").unlink()
    with pytest.raises(ValueError, match="A part of the classifier"):
        load_classifier(where)  # without classes it would have to be a regressor, which tells a quantity
    classifier().save(where)
    save_file({**load_file(where / "model.safetensors"), "extra": torch.zeros(1)}, where / "model.safetensors")
    with pytest.raises(ValueError, match="has the weight extra"):
        load_classifier(where)


def test_a_label_of_another_classifier_is_refused(tmp_path: Path):
    where = classifier().save(tmp_path / "classifier")
    (where / "label.json").write_text(json.dumps({"column": "kind", "class_names": ["a", "b", "c"]}))
    with pytest.raises(ValueError, match=r"label\.json has 3 classes and the network 2 outputs"):
        load_classifier(where)


def test_the_newest_classifier_of_this_generator_and_kind(tmp_path: Path):
    one, other = diffusion(), diffusion(seed=1)
    folder = one.save(tmp_path / "generators" / "a" / "checkpoint")
    root = tmp_path / "outputs"
    made = {
        "old": (classifier("noisy", one), 1000),
        "new": (classifier("noisy", one), 2000),
        "of another generator": (classifier("noisy", other), 3000),
        "of another kind": (classifier("hidden", one), 4000),
    }
    for name, (checkpoint, time) in made.items():
        config = checkpoint.save(root / name / "classifier") / "config.json"
        os.utime(config, (time, time))
    (root / "damaged" / "classifier").mkdir(parents=True)
    (root / "damaged" / "classifier" / "config.json").write_text("[")
    for name in (folder, folder.parent):
        assert newest_classifier(name, "noisy", root) == root / "new" / "classifier"
        assert newest_classifier(name, "hidden", root) == root / "of another kind" / "classifier"
        with pytest.raises(FileNotFoundError) as error:
            newest_classifier(name, "clean", root)
        assert str(error.value) == f"No clean classifier of {folder} under {root}."
    moved = folder.parent.rename(tmp_path / "elsewhere")
    assert newest_classifier(moved, "noisy", root) == root / "new" / "classifier"
