"""Generators that are conditional on numbers."""

from pathlib import Path

import pytest
import torch

from discrete_diffusion.checkpoints import load, newest
from discrete_diffusion.trainer.generator import dropped
from discrete_diffusion.trainer.train_classifier import load_data

TWO = ["label=values", "label.column=[qed,ring_count]"]


def test_numbers_are_dropped_together_and_alone(generator: torch.Generator):
    kept = ~dropped(torch.zeros(4000, 2), 0.2, generator).isnan()
    shares = [(kept == torch.tensor(pattern)).all(-1).float().mean().item() for pattern in ([0, 0], [1, 0], [1, 1])]
    # All of a row with probability 0.2; of the others, each number with probability 0.2.
    assert shares == pytest.approx([0.2 + 0.8 * 0.04, 0.8 * 0.16, 0.8 * 0.64], abs=0.03)
    one = dropped(torch.zeros(4000, 1), 0.2, generator).isnan().float().mean().item()
    assert one == pytest.approx(0.2, abs=0.03)
    assert not dropped(torch.zeros(9, 2), 0.0, generator).isnan().any()


@pytest.mark.parametrize("model", ["udlm", "ar"])
@pytest.mark.filterwarnings("default")
def test_a_run_is_conditional_on_numbers(run, tmp_path: Path, capsys, model: str):
    trained = run(tmp_path / "run", f"model={model}", *TWO, "preview.samples=4")
    output = capsys.readouterr().out
    assert "label=[" in output
    assert "qed: 0." in output
    found = load(newest(tmp_path))
    assert found.values == trained.values
    assert found.values.columns == ("qed", "ring_count")
    assert found.config["backbone"]["num_values"] == 2
    torch.testing.assert_close(found.network.state_dict(), trained.network.state_dict())
    assert len((tmp_path / "run" / "samples" / "step-000004.txt").read_text().splitlines()) == 4
    assert found.sample(3, y={"qed": 0.6}, seed=0).shape == (3, found.length)


@pytest.mark.filterwarnings("default")
def test_training_continues_in_the_units_of_the_initial_model(run, tmp_path: Path):
    first = run(tmp_path / "first", *TWO, "preview.samples=0")
    options = [f"initial={tmp_path / 'first'}", "data.rows.size=200", "preview.samples=0"]
    second = run(tmp_path / "second", *TWO, *options, small=False)
    assert second.values == first.values
    with pytest.raises(ValueError, match=r"Expected a `label` of the numbers qed, ring_count, .* got no such numbers"):
        run(tmp_path / "third", "label=qed", *options, small=False)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["label.column=[qed,absent]"], "Expected a column 'absent' for the label"),
        (["label.column=canonical_smiles"], "Expected numbers in the column 'canonical_smiles'"),
    ],
)
def test_refuses_columns(run, tmp_path: Path, overrides: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run", "label=values", *overrides)


def test_classifiers_refuse_numbers_as_classes(configure, run, tmp_path: Path):
    generator = run(tmp_path / "run", *TWO, "steps=1", "validate_every=1", "preview.samples=0")
    config = configure("task=noisy_classifier", f"generator={tmp_path / 'run'}", *TWO)
    with pytest.raises(ValueError, match="Expected classes in `label`: `regress=qed` trains on the numbers"):
        load_data(config, generator)
