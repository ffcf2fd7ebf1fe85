"""Guidance by a classifier: choice of the classifier, its target, its cost, and its errors."""

import csv
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from discrete_diffusion.checkpoints import load
from discrete_diffusion.evaluator.classifiers import Classifiers, ClassifierTarget, NoClassifierError
from discrete_diffusion.evaluator.evaluate import evaluate
from discrete_diffusion.evaluator.methods import Method
from discrete_diffusion.evaluator.requested import RequestedRange, intersection

Configured = Callable[..., DictConfig]
Checkpoint = Callable[[str], Path]
Classifier = Callable[..., Path]


def preset(kind: str = "noisy", **settings: object) -> Method:
    return Method("mine", "Mine", "kernel", classifier={"kind": kind, **settings})


def found(folder: Path, method: Method, **options: object) -> ClassifierTarget:
    return Classifiers(folder, load(folder), torch.device("cpu"), **options).find(method)


@pytest.mark.parametrize(
    ("options", "settings", "pattern", "ends"),
    [
        ([], {}, r"qed > [\d.]+", None),
        ([], {"target": 0}, r"qed <= [\d.]+", None),
        ([], {"negate": True}, r"qed <= [\d.]+", None),
        (["regress=qed"], {"threshold": 0.5}, r"qed > 0\.5", (0.5, math.inf)),
        (["regress=qed"], {"threshold": 0.5, "negate": True}, r"qed <= 0\.5", (-math.inf, 0.5)),
        (["regress=qed"], {"threshold": [0.4, 0.5]}, r"qed in 0\.4 to 0\.5", (0.4, 0.5)),
        (["regress=qed"], {"threshold": [0.4, 0.5], "negate": True}, r"qed outside 0\.4 to 0\.5", None),
        (["regress=qed"], {"target": 0.45}, r"qed near 0\.45", (0.45, 0.45)),
        (["label=ring_count"], {}, r"ring_count > \d", None),
    ],
)
def test_the_target_is_described_in_words(
    options: list[str],
    settings: dict[str, object],
    pattern: str,
    ends: tuple[float, float] | None,
    checkpoint: Checkpoint,
    classifier: Classifier,
):
    path = str(classifier("udlm", "noisy", *options))
    steer = found(checkpoint("udlm"), preset(checkpoint=path, **settings))
    assert re.fullmatch(pattern, steer.words), steer.words
    assert steer.requested == (None if ends is None else RequestedRange("qed", *ends))
    x, t = torch.full((3, 22), 5), torch.full((3,), 0.5)
    assert steer.likelihood(x, t).shape == (3,)
    assert steer.network.rows == 3


def test_a_range_is_also_the_intersection_of_two_thresholds():
    above, below = RequestedRange("qed", 0.4, math.inf), RequestedRange("qed", -math.inf, 0.5)
    assert intersection([above, below]) == (0.4, 0.5)
    assert intersection([above]) == (0.4, math.inf)
    assert intersection([RequestedRange("qed", 0.6, math.inf), below]) is None
    assert intersection([]) is None


def test_two_sides_of_a_threshold_are_one(checkpoint: Checkpoint, classifier: Classifier):
    path = str(classifier("udlm", "noisy"))
    x, t = torch.arange(44).reshape(2, 22) % 20, torch.tensor([0.1, 0.9])
    sides = [found(checkpoint("udlm"), preset(checkpoint=path, negate=negate)).likelihood(x, t) for negate in (0, 1)]
    assert torch.stack(sides).exp().sum(0).tolist() == pytest.approx([1.0, 1.0], abs=1e-6)


def test_the_requested_class_is_the_target_of_the_classifier(checkpoint: Checkpoint, classifier: Classifier):
    own, other = (str(classifier("udlm", "noisy", *options)) for options in ([], ["label=ring_count"]))
    assert found(checkpoint("udlm"), preset(checkpoint=own), label=0).words.startswith("qed <=")
    assert found(checkpoint("udlm"), preset(checkpoint=own, target=1), label=0).words.startswith("qed >")
    assert found(checkpoint("udlm"), preset(checkpoint=other), label=0).words.startswith("ring_count >")


def test_without_a_path_it_is_the_newest_of_its_kind(
    checkpoint: Checkpoint, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoClassifierError, match=r"Mine: No noisy classifier .*`uv run trainer task=noisy_classifier"):
        found(checkpoint("udlm"), preset())
    run = tmp_path / "outputs" / "run"
    shutil.copytree(classifier("udlm", "noisy"), run / "classifier")
    assert found(checkpoint("udlm"), preset()).words.startswith("qed >")
    # A run's folder is as good as the classifier's in it.
    assert found(checkpoint("udlm"), preset(), path=str(run)).words.startswith("qed >")
    with pytest.raises(NoClassifierError, match="No hidden classifier"):
        found(checkpoint("udlm"), preset("hidden"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": 2}, r"Expected `guidance\.mine\.classifier\.target` to be one of 0 \(.*\), 1 \(.*\), got 2"),
        ({"threshold": 0.5}, r"Expected no `guidance\.mine\.classifier\.threshold`: its classifier predicts classes"),
        ({"kind": "hidden"}, "Expected a hidden classifier for Mine, got a noisy one"),
    ],
)
def test_what_a_classifier_cannot_tell_is_refused(
    settings: dict[str, object], message: str, checkpoint: Checkpoint, classifier: Classifier
):
    with pytest.raises(ValueError, match=message):
        found(checkpoint("udlm"), preset(**{"checkpoint": str(classifier("udlm", "noisy")), **settings}))


def test_a_regressor_steers_toward_the_target(checkpoint: Checkpoint, classifier: Classifier):
    path = str(classifier("udlm", "noisy", "regress=qed"))
    with pytest.raises(ValueError, match=r"classifier\.target` \(near it\) or `threshold` \(above it, or \[low"):
        found(checkpoint("udlm"), preset(checkpoint=path))


def test_the_classifier_of_another_generator_is_refused_by_what_differs(
    configured: Configured, checkpoint: Checkpoint, classifier: Classifier, tmp_path: Path
):
    common = [f"checkpoint={checkpoint('udlm')}", f"output={tmp_path / 'out'}"]
    with pytest.raises(ValueError, match="trained with the process Absorbing, and this generator has the process Unif"):
        evaluate(configured(*common, "guidance=first_order", f"classifier={classifier('mdlm', 'noisy')}"))
    with pytest.raises(FileNotFoundError, match=r"Expected a classifier in .*nowhere"):
        evaluate(configured(*common, "guidance=first_order", "classifier=nowhere"))
    assert not (tmp_path / "out").exists()


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_its_rows_are_counted_beside_the_generators(
    configured: Configured, checkpoint: Checkpoint, classifier: Classifier, tmp_path: Path
):
    path = classifier("udlm", "noisy")
    common = [f"checkpoint={checkpoint('udlm')}", "likelihood=false", "sampling.steps=4", "seeds=[1]", "samples=6"]
    chosen = [f"classifier={path}", "gammas=[0,2]"]
    out = tmp_path / "out"
    evaluate(configured(*common, *chosen, "guidance=first_order", f"output={out}"))
    unguided, guided = table(out / "results.csv")
    assert (unguided["classifier_rows"], guided["classifier_rows"]) == ("0", str(6 * 4))
    assert unguided["network_evaluations"] == guided["network_evaluations"] == str(6 * 4)
    assert guided["guidance"] == "D-CBG, first order"
    # The model knows labels, but it is the classifier that steers.
    assert guided["condition"].startswith("qed >")

    second = ["guidance=[first_order,second_condition]", f"guidance.second_condition.classifier.checkpoint={path}"]
    evaluate(configured(*common, *chosen, *second, f"output={tmp_path / 'two'}"))
    *_, both = table(tmp_path / "two" / "results.csv")
    assert int(both["classifier_rows"]) > 6 * 4 * 22
    assert both["guidance"] == "D-CBG, first order + D-CBG"


def test_two_conditions_are_both_in_the_results(
    configured: Configured, checkpoint: Checkpoint, classifier: Classifier, tmp_path: Path
):
    out = tmp_path / "out"
    second = "guidance.second_condition.classifier"
    evaluate(
        configured(
            f"checkpoint={checkpoint('unlabeled')}",
            f"output={out}",
            "guidance=[classifier_based,second_condition]",
            f"guidance.classifier_based.classifier.checkpoint={classifier('unlabeled', 'noisy', 'label=qed')}",
            f"{second}.checkpoint={classifier('unlabeled', 'noisy', 'label=ring_count')}",
            f"{second}.negate=true",
            "gammas=[1]",
            "seeds=[1]",
            "samples=3",
            "likelihood=false",
            "sampling.steps=2",
        )
    )
    (row,) = table(out / "results.csv")
    high, few = row["condition"].split(" and ")
    assert high.startswith("qed > ")
    assert few.startswith("ring_count <= ")
    assert row["guidance"] == "D-CBG + D-CBG"
