"""Short trainings of each kind of classifier on a short-trained generator, and their outputs."""

import csv
from pathlib import Path

import pytest
import torch

from discrete_diffusion.checkpoints import load, load_classifier

KINDS = [
    ("noisy", "udlm"),
    ("noisy", "mdlm"),
    ("prefix", "ar"),
    ("hidden", "udlm"),
    ("hidden", "ar"),
    ("clean", "mdlm"),
    ("clean", "ar"),
]


def inputs(kind: str, generator, x0: torch.Tensor) -> torch.Tensor:
    return generator.denoiser().encode(x0, torch.full((len(x0),), 0.3)) if kind == "hidden" else x0


@pytest.mark.parametrize(("kind", "model"), KINDS)
@pytest.mark.parametrize("option", ["label=none", "regress=qed"])
@pytest.mark.filterwarnings("default")
def test_a_run_leaves_a_classifier_that_fits_its_generator(
    generator_run, classify, tmp_path: Path, kind: str, model: str, option: str
):
    run = generator_run(model)
    trained = classify(tmp_path / "run", kind, run, option)
    found, generator = load_classifier(tmp_path / "run" / "classifier"), load(run / "checkpoint")
    assert found.kind == kind
    assert found.label == (None if option == "regress=qed" else generator.label)
    assert found.config == trained.config
    found.matches(generator)

    x0, t = generator.data().validation["input_ids"][:][:3], torch.tensor([0.1, 0.5, 0.9])
    x = inputs(kind, generator, x0)
    with torch.no_grad():
        expected = trained.predictor(trained.network.eval())(x, t)
        assert torch.equal(found.predictor()(x, t), expected)
        assert not torch.equal(expected[0], expected[1])  # an untrained one says the same of everything
        steer = found.likelihood(threshold=0.5) if found.label is None else found.likelihood()
        assert steer(x, t).shape == (3,)
        assert (steer(x, t) <= 0).all()

    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))
    assert [row["step"] for row in rows if row["val/loss"]] == ["1", "3"]
    named = {"r2", "rmse", "within_sigma"} if found.label is None else {"accuracy", "f1_positive", "f1_macro", "ece"}
    assert {f"val/{name}" for name in named} <= rows[0].keys()
    table, picture = tmp_path / "run" / "metrics" / "noise_levels.csv", tmp_path / "run" / "noise_levels.png"
    assert table.exists() == picture.exists() == (kind != "clean")
    if kind != "clean":
        levels = list(csv.DictReader(table.read_text().splitlines()))
        assert {row["step"] for row in levels} == {"2", "4"}
        last = [row for row in levels if row["step"] == "4"]
        assert [float(row["level_from"]) for row in last] == [i / 10 for i in range(10)]


@pytest.mark.filterwarnings("default")
def test_training_learns(generator_run, classify, tmp_path: Path):
    """Obvious classes are predicted better than by the most frequent class."""
    table = tmp_path / "words.csv"
    table.write_text("word,kind\n" + "".join(f"{'ab'[i % 2] * (i % 5 + 2)},{'xy'[i % 2]}\n" for i in range(400)))
    options = ["data=table", f"data.path={table}", "data.column=word", "label=category", "label.column=kind"]
    run = generator_run("udlm", "data.validation=0.3", *options)
    classify(tmp_path / "run", "noisy", run, "steps=150", "validate_every=150", "batch_size=64")
    rows = list(csv.DictReader((tmp_path / "run" / "metrics" / "noise_levels.csv").read_text().splitlines()))
    clean, noise = rows[0], rows[-1]
    assert float(clean["accuracy"]) > 0.95 > 0.85 > float(noise["accuracy"])
    assert float(clean["nats"]) < 0.3 < float(noise["nats"])
    assert float(clean["majority"]) < 0.7


@pytest.mark.filterwarnings("default")
def test_the_generator_is_left_as_it_was(generator_run, classify, tmp_path: Path):
    run = generator_run("udlm")
    before = (run / "checkpoint" / "model.safetensors").read_bytes()
    made = classify(tmp_path / "run", "hidden", run)
    assert (run / "checkpoint" / "model.safetensors").read_bytes() == before
    assert not [name for name in made.network.state_dict() if "blocks" in name]


@pytest.mark.filterwarnings("default")
def test_another_label_is_fitted_to_the_same_rows(generator_run, classify, tmp_path: Path):
    made = classify(tmp_path / "run", "noisy", generator_run("udlm"), "label=ring_count")
    assert made.label.column == "ring_count"


@pytest.mark.filterwarnings("default")
def test_a_classifier_leaves_rows_without_a_label_out(run, classify, tmp_path: Path, capsys):
    kinds = ["x", "y", ""] * 20
    (tmp_path / "my.csv").write_text("text,kind\n" + "".join(f"{'ab' * (i % 5)}c,{k}\n" for i, k in enumerate(kinds)))
    options = ["data=table", f"data.path={tmp_path / 'my.csv'}", "label=category", "label.column=kind"]
    generator = run(tmp_path / "run", *options, "label_dropout=0.5")
    data = generator.data()
    assert sorted(set(data.train["label"][:].tolist())) == [0, 1, 2]
    assert len(data.labels) < len(data.train) == 57
    assert (
        "20 of 60 rows (33%) unconditional: no label in 'kind' (rows 3, 6, 9, 12, 15, ...)." in capsys.readouterr().out
    )
    found = classify(tmp_path / "classifier", "noisy", tmp_path / "run")
    assert found.label.class_names == ("x", "y")
    out = capsys.readouterr().out
    assert "20 of 60 rows (33%) dropped: no label in 'kind'" in out
    assert f"{len(data.labels)} training and {40 - len(data.labels)} validation sequences" in out


def test_a_run_without_a_validation_at_its_end_has_one(generator_run, classify, tmp_path: Path):
    classify(tmp_path / "run", "noisy", generator_run("udlm"), "steps=3", "validate_every=2")
    rows = list(csv.DictReader((tmp_path / "run" / "metrics" / "noise_levels.csv").read_text().splitlines()))
    assert {row["step"] for row in rows} == {"2", "3"}


@pytest.mark.parametrize(
    ("kind", "model", "options", "message"),
    [
        ("noisy", "ar", [], "this one goes from left to right: train it a `task=prefix_classifier`"),
        ("prefix", "udlm", [], "this one is a diffusion: train it a `task=noisy_classifier`"),
        ("noisy", "udlm", ["model=mdlm"], "Expected no `model`"),
        ("noisy", "udlm", ["schedule=cosine"], "Expected no `schedule`"),
        ("noisy", "udlm", ["experiment=qm9"], "Expected no `schedule`, nor an experiment"),
        ("noisy", "udlm", ["data=molecules"], "Expected no `data`"),
        ("noisy", "udlm", ["data.path=moved.csv"], "come from no file"),
        ("noisy", "udlm", ["label=qed", "regress=qed"], "either `label` or `regress`"),
        ("noisy", "udlm", ["regress=weight"], "Expected a column 'weight' to regress; the columns are .*qed"),
        ("noisy", "udlm", ["regress=canonical_smiles"], "Expected numbers in the column 'canonical_smiles'"),
        ("noisy", "udlm", ["draws=0"], "Expected `draws` >= 1"),
    ],
)
@pytest.mark.filterwarnings("default")
def test_what_cannot_be_is_refused(generator_run, classify, tmp_path, kind, model, options, message):
    with pytest.raises(ValueError, match=message):
        classify(tmp_path / "run", kind, generator_run(model), *options)


@pytest.mark.filterwarnings("default")
def test_a_generator_without_labels_asks_for_one(generator_run, classify, tmp_path: Path):
    run = generator_run("mdlm", "label=none")
    with pytest.raises(ValueError, match="Expected a `label` or a column to `regress`"):
        classify(tmp_path / "none", "noisy", run)
    assert classify(tmp_path / "qed", "noisy", run, "label=qed").label.column == "qed"


@pytest.mark.filterwarnings("default")
def test_data_that_moved_are_found_again(generator_run, classify, tmp_path: Path):
    table = tmp_path / "words.csv"
    table.write_text("word,kind\n" + "".join(f"{'ab' * (i % 5 + 1)},{'xy'[i % 2]}\n" for i in range(40)))
    options = ["data=table", f"data.path={table}", "data.column=word", "label=category", "label.column=kind"]
    run = generator_run("udlm", *options)
    moved = table.rename(tmp_path / "moved.csv")
    with pytest.raises(FileNotFoundError, match=r"The training data are gone: .* does not exist"):
        classify(tmp_path / "gone", "noisy", run)
    assert classify(tmp_path / "found", "noisy", run, f"data.path={moved}").label.class_names == ("x", "y")
