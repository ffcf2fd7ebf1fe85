"""Generators with their classifiers in one folder."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from discrete_diffusion.backbones import DiTClassifier
from discrete_diffusion.checkpoints import (
    Checkpoint,
    ClassifierCheckpoint,
    MissingDataError,
    describe_generator,
    load,
    newest_classifier,
)
from discrete_diffusion.guidance import ClassifierBased


def classifier(generator: Checkpoint, kind: str = "noisy") -> ClassifierCheckpoint:
    sizes = {
        "vocab_size": len(generator.tokenizer),
        "hidden_size": 8,
        "num_blocks": 1,
        "num_heads": 2,
        "num_outputs": 2,
    }
    network = DiTClassifier(**sizes).eval()
    seed = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=seed)
    config = {
        "network": {"_target_": "discrete_diffusion.backbones.DiTClassifier", **sizes},
        "process": generator.config["model"]["denoiser"]["process"] if kind == "noisy" else None,
        "quantity": None,
        "generator": {"path": "outputs/run/checkpoint", **describe_generator(generator)},
    }
    return ClassifierCheckpoint(config, network, generator.label, kind)


def test_a_unit_comes_back_whole(checkpoint: Checkpoint, tmp_path: Path):
    noisy, clean = classifier(checkpoint), classifier(checkpoint, "clean")
    found = load(checkpoint.with_classifiers(steers=noisy, judges=clean).save(tmp_path / "unit"))
    assert {name: one.kind for name, one in found.classifiers.items()} == {"steers": "noisy", "judges": "clean"}
    x, t = torch.tensor([[0, 3, 4, 5]]), torch.tensor([0.4])
    torch.testing.assert_close(found.classifiers["steers"].likelihood(1)(x, t), noisy.likelihood(1)(x, t))
    assert found.classifiers["judges"].label == clean.label


def test_a_classifier_of_another_generator_is_refused_on_the_way_in_and_out(checkpoint: Checkpoint, tmp_path: Path):
    longer = replace(checkpoint, config={**checkpoint.config, "length": 14})
    with pytest.raises(ValueError, match="with sequences of 14 tokens, and this generator has sequences of 12"):
        checkpoint.with_classifiers(noisy=classifier(longer))
    where = checkpoint.with_classifiers(noisy=classifier(checkpoint)).save(tmp_path / "unit")
    config = json.loads((where / "config.json").read_text())
    (where / "config.json").write_text(json.dumps({**config, "length": 14, "data": {**config["data"], "length": 14}}))
    with pytest.raises(ValueError, match="with sequences of 12 tokens, and this generator has sequences of 14"):
        load(where)


def test_its_own_classifier_is_found_first(checkpoint: Checkpoint, tmp_path: Path):
    where = checkpoint.with_classifiers(mine=classifier(checkpoint)).save(tmp_path / "unit")
    classifier(checkpoint).save(tmp_path / "outputs" / "later" / "classifier")
    assert newest_classifier(where, "noisy", tmp_path / "outputs") == where / "classifiers" / "mine"
    with pytest.raises(FileNotFoundError, match="No clean classifier"):
        newest_classifier(where, "clean", tmp_path / "outputs")
    shutil.rmtree(where / "classifiers")
    assert newest_classifier(where, "noisy", tmp_path / "outputs").parent.name == "later"


def test_a_unit_steers_by_itself(checkpoint: Checkpoint, tmp_path: Path):
    unit = load(checkpoint.with_classifiers(noisy=classifier(checkpoint)).save(tmp_path / "unit"))

    def counts(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        fives = (x == 5).sum(-1).float()
        return torch.stack([torch.zeros_like(fives), 3 * fives - 30], -1)

    def drawn(gamma: float) -> torch.Tensor:
        likelihood = unit.classifiers["noisy"].likelihood(1, network=counts)
        steered = partial(ClassifierBased, likelihood=likelihood, gamma=gamma)
        return unit.sample(16, steps=8, on_kernel=[steered], generator=torch.Generator().manual_seed(0))

    assert (drawn(2.0) == 5).sum() > (drawn(0.0) == 5).sum() + 50


def test_samples_have_the_requested_labels(checkpoint: Checkpoint):
    seen = []

    class Watched(torch.nn.Module):
        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, xt, sigma, y=None, at=None):
            seen.append(y)
            return self.network(xt, sigma, y, at)

    watched = replace(checkpoint, network=Watched(checkpoint.network))
    for y in (1, torch.tensor([0, 1, 2]), None):
        ids = watched.sample(3, y=y, steps=1, generator=torch.Generator().manual_seed(0))
        assert ids.shape == (3, 12)
        assert len(watched.decode(ids)) == 3
    assert [None if y is None else y.tolist() for y in seen] == [[1, 1, 1], [0, 1, 2], None]


def test_without_a_generator_torch_s_own_is_drawn_from(checkpoint: Checkpoint):
    torch.manual_seed(3)
    first = checkpoint.sample(2, steps=2)
    torch.manual_seed(3)
    assert torch.equal(checkpoint.sample(2, steps=2), first)


def test_labels_and_steps_that_there_are_not(checkpoint: Checkpoint):
    with pytest.raises(ValueError, match=r"Expected 0 <= `y` <= 2, the null label, got .3, 3."):
        checkpoint.sample(2, y=3)
    with pytest.raises(ValueError, match="Expected no `y`: this model was trained without labels"):
        replace(checkpoint, label=None).sample(2, y=0)
    with pytest.raises(ValueError, match="Expected `steps` >= 1, got 0"):
        checkpoint.sample(2, steps=0)


def test_data_without_a_description(checkpoint: Checkpoint):
    with pytest.raises(ValueError, match="does not say what it was trained on"):
        checkpoint.data()


def test_data_of_a_relative_path_are_found_from_other_folders(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rows = {"_target_": "discrete_diffusion.datasets.table", "path": "mine.csv", "column": "smiles"}
    data = {"kind": "molecules", "rows": rows, "column": "smiles", "path": "mine.csv"}
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (elsewhere / "deeper").mkdir(parents=True)
    described = replace(checkpoint, config={**checkpoint.config, "data": data})
    described.save(project / "outputs" / "mine" / "run" / "checkpoint")
    (project / "mine.csv").write_text("smiles,qed\n" + "CCO,0.4\nc1ccccc1,0.6\n" * 10)
    (elsewhere / "mine.csv").write_text("smiles,qed\n" + "CCC,0.4\n" * 20)  # of the same name

    def strings(run: Path) -> set[str]:
        return set(load(run).data().train.with_format(None)["smiles"][:])

    monkeypatch.chdir(elsewhere)
    assert strings(project / "outputs" / "mine" / "run") == {"CCO", "c1ccccc1"}
    project = project.rename(tmp_path / "moved")
    assert strings(Path("../moved/outputs/mine/run")) == {"CCO", "c1ccccc1"}
    # A run alone is moved: the working folder decides.
    run = (project / "outputs" / "mine" / "run").rename(tmp_path / "run")
    monkeypatch.chdir(project)
    assert strings(run) == {"CCO", "c1ccccc1"}
    monkeypatch.chdir(elsewhere / "deeper")
    with pytest.raises(
        MissingDataError, match=r"mine\.csv does not exist\. Looked in .*deeper and in the folders above"
    ):
        strings(run)
    assert len(load(run).data(str(project / "mine.csv")).train) > 0
    assert load(run).config["data"]["path"] == "mine.csv"


def test_a_sample_depends_on_the_seed_and_its_index(checkpoint: Checkpoint):
    whole = checkpoint.sample(6, steps=2, seed=4)
    assert torch.equal(checkpoint.sample(2, steps=2, seed=4), whole[:2])
    assert torch.equal(checkpoint.sample(3, steps=2, seed=4, first=3), whole[3:])
    assert not torch.equal(checkpoint.sample(6, steps=2, seed=5), whole)
    with pytest.raises(ValueError, match="Expected either `seed` or `generator`, got both"):
        checkpoint.sample(2, seed=0, generator=torch.Generator())


def test_a_class_has_a_name(checkpoint: Checkpoint):
    assert checkpoint.label is not None
    name = checkpoint.label.class_names[1]
    assert torch.equal(checkpoint.sample(3, y=name, steps=2, seed=0), checkpoint.sample(3, y=1, steps=2, seed=0))
    with pytest.raises(ValueError, match=r"Expected `y` to be one of .*, got 'nothing'"):
        checkpoint.sample(3, y="nothing")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"count": -1}, ValueError, "Expected `count` >= 1, got -1"),
        ({"count": 1, "seed": 0, "first": None}, TypeError, "Expected an integer `first`, got None"),
        ({"count": 1.5}, TypeError, r"Expected an integer `count`, got 1\.5"),
        ({"count": 2, "y": 1.5}, ValueError, "Expected one integer label or 2 of them"),
        ({"count": 2, "y": torch.tensor([0, 1, 0])}, ValueError, "Expected one integer label or 2 of them"),
    ],
)
def test_wrong_arguments_are_named(checkpoint: Checkpoint, arguments: dict, error: type, message: str):
    with pytest.raises(error, match=message):
        checkpoint.sample(arguments.pop("count"), **arguments)


def test_a_checkpoint_describes_itself_in_one_line(checkpoint: Checkpoint):
    text = repr(checkpoint)
    assert "\n" not in text
    assert text.startswith("Checkpoint(")
    assert f"of {checkpoint.length} tokens" in text
    assert ", ".join(checkpoint.label.class_names) in text
