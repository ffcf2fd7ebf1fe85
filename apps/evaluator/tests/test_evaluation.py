"""Evaluations of each kind of model, whose numbers agree with counts of their own samples."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

import pytest
from omegaconf import DictConfig
from rdkit import Chem, rdBase
from rdkit.Chem.QED import qed

from discrete_diffusion.checkpoints import load
from discrete_diffusion.evaluator.evaluate import evaluate
from discrete_diffusion.evaluator.record import make_directory

Configured = Callable[..., DictConfig]
Checkpoint = Callable[[str], Path]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", ["udlm", "mdlm", "ar"])
def test_molecules_are_counted_and_priced_as_one_counts_by_hand(
    kind: str, configured: Configured, checkpoint: Checkpoint, tmp_path: Path
):
    folder, out = checkpoint(kind), tmp_path / "out"
    steps = [] if kind == "ar" else ["sampling.steps=4"]
    evaluate(configured(f"checkpoint={folder}", f"output={out}", "gammas=[0,1,2.5]", "data_labels=true", *steps))
    rows = table(out / "results.csv")
    assert [(row["gamma"], row["seed"]) for row in rows] == [
        (gamma, seed) for seed in "12" for gamma in ("0.0", "1.0", "2.5", "")
    ]
    model = load(folder)
    known = model.data().train.with_format(None)["canonical_smiles"][:]
    passes = model.length if kind == "ar" else 4
    for row in rows:
        name = {"": "data-labels", "0.0": "gamma-0", "1.0": "gamma-1", "2.5": "gamma-2.5"}[row["gamma"]]
        samples = table(out / "samples" / f"{name}_seed-{row['seed']}.csv")
        strings = [sample["string"] for sample in samples]
        # The empty string is a molecule to RDKit, and "C C" is the molecule C named C.
        with rdBase.BlockLogs():
            read = [None if not one or " " in one else Chem.MolFromSmiles(one) for one in strings]
        valid = [one for one, molecule in zip(strings, read, strict=True) if molecule]
        forms = list(dict.fromkeys(Chem.MolToSmiles(molecule) for molecule in read if molecule))
        novel = [one for one in forms if one not in known]
        assert int(row["generated"]) == len(strings) == 24
        assert int(row["valid"]) == len(valid) == sum(sample["valid"] == "True" for sample in samples)
        assert int(row["unique"]) == len(forms)
        assert int(row["novel"]) == len(novel)
        assert int(row["unique_raw"]) == len(set(valid))
        assert int(row["novel_raw"]) == len(set(valid) - set(known))
        assert float(row["valid_fraction"]) == pytest.approx(len(valid) / 24)
        values = [qed(Chem.MolFromSmiles(one)) for one in novel]
        if values:
            assert float(row["novel_property_mean"]) == pytest.approx(mean(values))
        else:
            assert row["novel_property_mean"] == ""
        assert int(row["network_evaluations"]) == 24 * passes * (2 if row["gamma"] == "2.5" else 1)
        assert (row["classifier_rows"], row["reward_calls"], row["mean_ess_share"]) == ("0", "0", "")
        assert float(row["seconds"]) > 0


def test_the_summary_is_the_mean_over_seeds_with_students_interval(
    configured: Configured, checkpoint: Checkpoint, tmp_path: Path
):
    out = tmp_path / "out"
    evaluate(configured(f"checkpoint={checkpoint('ar')}", f"output={out}", "gammas=[0,1]", "seeds=[1,2,3]"))
    rows, summary = table(out / "results.csv"), table(out / "summary.csv")
    assert [row["condition"] for row in summary][-1] == "training data"
    for row in summary[:-1]:
        counts = [int(one["valid"]) for one in rows if one["gamma"] == row["gamma"]]
        assert len(counts) == int(row["seeds"]) == 3
        assert float(row["valid"]) == pytest.approx(mean(counts))
        # 4.3027 is the 97.5th percentile of Student's t with two degrees of freedom.
        assert float(row["valid_ci95"]) == pytest.approx(4.3027 * stdev(counts) / math.sqrt(3), rel=1e-4)
    training = load(checkpoint("ar")).data().train.with_format(None)["qed"][:]
    assert float(summary[-1]["valid_property_mean"]) == pytest.approx(mean(training))
    content = json.loads((out / "summary.json").read_text())
    assert content["training"]["property"] == "qed"
    assert sum(value <= content["training"]["p90"] for value in training) / len(training) == pytest.approx(
        0.9, abs=0.01
    )
    assert content["configuration"]["seeds"] == [1, 2, 3]
    assert content["checkpoint"] == str(checkpoint("ar").resolve())
    assert content["results"][0]["novel"] == pytest.approx(float(summary[0]["novel"]))
    nats = content["likelihood"]
    assert nats["nats_per_sequence"] == pytest.approx(nats["diffusion_nats_per_sequence"])


def test_the_same_seed_draws_the_same_and_another_draws_others(
    configured: Configured, checkpoint: Checkpoint, tmp_path: Path
):
    common = [f"checkpoint={checkpoint('udlm')}", "gammas=[2]", "likelihood=false", "sampling.steps=3"]
    for name in ("a", "b"):
        evaluate(configured(*common, f"output={tmp_path / name}"))
    first, again = (table(tmp_path / name / "samples" / "gamma-2_seed-1.csv") for name in ("a", "b"))
    assert first == again
    other = table(tmp_path / "a" / "samples" / "gamma-2_seed-2.csv")
    assert [row["string"] for row in first] != [row["string"] for row in other]
    assert "likelihood" not in json.loads((tmp_path / "a" / "summary.json").read_text())


def test_a_model_without_labels_has_one_row_and_its_pictures(
    configured: Configured, checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    evaluate(configured(f"checkpoint={checkpoint('unlabeled')}", f"output={out}", "pictures.draw=true", "seeds=[3]"))
    (row,) = table(out / "results.csv")
    assert (row["gamma"], row["guidance"], row["condition"]) == ("", "none", "unconditional")
    assert int(row["network_evaluations"]) == 24 * 32
    files = {path.name for path in out.iterdir()}
    assert {"molecules.png", "distribution.png", "trajectory.gif"} <= files
    assert "frontier.png" not in files
    printed = capsys.readouterr().out
    assert "one seed, no intervals" in printed
    assert "training data" in printed


def test_labeled_molecules_have_every_picture(configured: Configured, checkpoint: Checkpoint, tmp_path: Path):
    out = tmp_path / "out"
    common = [f"checkpoint={checkpoint('udlm')}", f"output={out}", "pictures.draw=true", "gammas=[0,2]"]
    evaluate(configured(*common, "likelihood=false", "sampling.steps=4", "pictures.gamma=2"))
    for name in ("frontier.png", "molecules.png", "distribution.png", "trajectory.gif"):
        assert (out / name).stat().st_size > 1000


def test_strings_are_compared_with_the_data_and_with_each_other(
    configured: Configured, checkpoint: Checkpoint, words: Path, tmp_path: Path
):
    out = tmp_path / "out"
    evaluate(configured(f"checkpoint={checkpoint('table')}", f"output={out}", "pictures.draw=true", "gammas=[0,1]"))
    known = set(load(checkpoint("table")).data().train.with_format(None)["word"][:])
    for row in table(out / "results.csv"):
        samples = table(out / "samples" / f"gamma-{float(row['gamma']):g}_seed-{row['seed']}.csv")
        strings = [sample["string"] for sample in samples]
        assert int(row["distinct"]) == len(set(strings))
        assert int(row["novel"]) == len(set(strings) - known)
        assert float(row["all_property_mean"]) == pytest.approx(mean(map(len, strings)))
        assert row["property"] == "length"
    assert (out / "trajectory.gif").is_file()
    # Classes are named in sorted order, and the last is the target.
    assert [row["condition"] for row in table(out / "results.csv")[:2]] == ["unconditional", "short"]


def test_a_persons_own_property_is_measured(configured: Configured, checkpoint: Checkpoint, tmp_path: Path):
    out = tmp_path / "out"
    own = ["metrics.property._target_=builtins.len", "metrics.property_name=characters", "likelihood=false"]
    evaluate(configured(f"checkpoint={checkpoint('ar')}", f"output={out}", "gammas=[1]", *own))
    for row in table(out / "results.csv"):
        samples = table(out / "samples" / f"gamma-1_seed-{row['seed']}.csv")
        valid = [len(sample["string"]) for sample in samples if sample["valid"] == "True"]
        assert row["property"] == "characters"
        assert row["valid_property_mean"] == (str(mean(valid)) if valid else "")
    training = load(checkpoint("ar")).data().train.with_format(None)["canonical_smiles"][:]
    assert json.loads((out / "summary.json").read_text())["training"]["mean"] == pytest.approx(mean(map(len, training)))


def test_data_that_moved_are_read_where_they_are_now(
    configured: Configured, checkpoint: Checkpoint, words: Path, tmp_path: Path
):
    model = checkpoint("table")
    moved = words.rename(words.with_name("moved.csv"))
    try:
        common = [f"checkpoint={model}", f"output={tmp_path / 'out'}", "gammas=[1]", "likelihood=false"]
        with pytest.raises(FileNotFoundError, match=r"training data are gone: .*words\.csv does not exist"):
            evaluate(configured(*common))
        evaluate(configured(*common, f"data.path={moved}"))
    finally:
        moved.rename(words)


def test_a_prompt_is_held(configured: Configured, checkpoint: Checkpoint, tmp_path: Path):
    common = [f"checkpoint={checkpoint('mdlm')}", "gammas=[1]", "likelihood=false", "sampling.steps=4"]
    evaluate(configured(*common, f"output={tmp_path / 'out'}", "prompt='CC_O'"))
    for row in table(tmp_path / "out" / "samples" / "gamma-1_seed-1.csv"):
        assert row["string"].startswith("CC")


def test_stopping_keeps_what_there_is(
    configured: Configured,
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    from discrete_diffusion.evaluator.generation import Generation

    whole, calls = Generation.__call__, []

    def third_is_interrupted(self: Generation, *args: object, **kwargs: object) -> object:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(Generation, "__call__", third_is_interrupted)
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        evaluate(configured(f"checkpoint={checkpoint('ar')}", f"output={out}", "gammas=[0,1]", "likelihood=false"))
    assert stop.value.code == 130
    assert "2 of 4 runs saved to" in capsys.readouterr().out
    assert len(table(out / "results.csv")) == 2
    assert len(json.loads((out / "summary.json").read_text())["results"]) == 2
    assert (out / "report.html").is_file()


@pytest.mark.parametrize(
    ("folder", "name", "home"),
    [
        ("run/checkpoint", None, "run/evaluation"),
        ("models/mine", "models/mine", "models/mine_evaluation"),
        ("cache/snapshots/0af3", "you/mine", "outputs/you_mine/evaluation"),
    ],
)
def test_results_go_where_they_are_looked_for(
    folder: str, name: str | None, home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path(folder).mkdir(parents=True)
    made = [make_directory(None, Path(folder), name) for _ in range(2)]
    assert len(set(made)) == 2
    assert {path.parent.resolve() for path in made} == {tmp_path / home}


def test_results_go_beside_the_checkpoint_and_never_over_others(
    configured: Configured, checkpoint: Checkpoint, tmp_path: Path
):
    run = checkpoint("ar").parent
    quick = [f"checkpoint={run}", "gammas=[1]", "seeds=[1]", "likelihood=false"]
    places = [evaluate(configured(*quick)) for _ in range(2)]
    assert len(set(places)) == 2
    assert {place.parent for place in places} == {run.resolve() / "evaluation"}
    with pytest.raises(FileExistsError, match="is not empty"):
        evaluate(configured(*quick, f"output={places[0]}"))
