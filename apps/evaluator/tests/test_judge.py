"""Judges: classifiers that label samples and take no part in guidance."""

import csv
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from transformers import BertConfig, BertForSequenceClassification

from discrete_diffusion.datasets import word_tokenizer
from discrete_diffusion.evaluator.evaluate import evaluate
from discrete_diffusion.evaluator.judge import HuggingFaceJudge, judged

Configured = Callable[..., DictConfig]
Checkpoint = Callable[[str], Path]


class Fixed:
    """A judge that has made up its mind."""

    def __init__(self, names, found):
        self.class_names = names
        self.log_probs = np.eye(len(names))[found] - 1e3

    def __call__(self, strings, ids):
        return self.log_probs


def verdict(found, requested, *, names=("a", "b", "c"), known=("a", "b", "c")):
    ids = torch.zeros(len(found), 1)
    return judged(
        Fixed(names, found), known, [""] * len(found), ids, None if requested is None else torch.tensor(requested)
    )


def test_shares_and_accuracy():
    numbers = verdict([0, 0, 1, 2], [0, 0, 0, 0])
    assert [numbers[f"judged_{name}"] for name in "abc"] == [0.5, 0.25, 0.25]
    assert numbers["accuracy"] == 0.5
    assert numbers["macro_f1"] is None


def test_scores_over_several_classes():
    found, requested = [0, 0, 1, 1, 2, 0], [0, 1, 1, 1, 2, 2]
    numbers = verdict(found, requested)
    precision, recall = {0: 1 / 3, 1: 1.0, 2: 1.0}, {0: 1.0, 1: 2 / 3, 2: 0.5}
    f1 = [2 * precision[i] * recall[i] / (precision[i] + recall[i]) for i in range(3)]
    assert [numbers[f"f1_{name}"] for name in "abc"] == pytest.approx(f1)
    assert numbers["macro_f1"] == pytest.approx(mean(f1))
    assert numbers["accuracy"] == pytest.approx(4 / 6)


def test_classes_are_matched_by_name_and_otherwise_by_place():
    assert verdict([0, 0, 1], [1, 1, 0], names=("b", "a"), known=("a", "b"))["accuracy"] == 1
    assert verdict([0, 0, 1], [0, 0, 1], names=("LABEL_0", "LABEL_1"), known=("a", "b"))["accuracy"] == 1
    with pytest.raises(ValueError, match="a judge of the model's 2 classes"):
        verdict([0], [0], known=("a", "b"))


def test_without_labels_there_are_shares_alone():
    assert verdict([0, 1], None, known=()) == {"judged_a": 0.5, "judged_b": 0.5, "judged_c": 0.0}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_trained_judge(configured: Configured, checkpoint: Checkpoint, classifier, tmp_path: Path):
    path, out = classifier("udlm", "clean"), tmp_path / "out"
    common = [f"checkpoint={checkpoint('udlm')}", "likelihood=false", "sampling.steps=2", "pictures.draw=true"]
    options = ["judge=trained", f"judge.path={path}", "label=each", "gammas=[0,1]", "data_labels=true"]
    evaluate(configured(*common, *options, f"output={out}"))
    assert (out / "accuracy.png").is_file()
    shares = [name for name in rows(out)[0] if name.startswith("judged_")]
    assert len(shares) == 2
    for row in rows(out):
        assert sum(float(row[name]) for name in shares) == pytest.approx(1)
        assert 0 <= float(row["accuracy"]) <= 1
        assert -1 <= float(row["mcc"]) <= 1
    assert {row["condition"] for row in rows(out)} == {"unconditional", "each class", "as in the data"}


def test_a_judge_must_be_one(configured: Configured, checkpoint: Checkpoint, classifier, tmp_path: Path):
    common = [f"checkpoint={checkpoint('udlm')}", "likelihood=false", f"output={tmp_path / 'out'}", "judge=trained"]
    with pytest.raises(ValueError, match="Expected a classifier of `task=clean_classifier`"):
        evaluate(configured(*common, f"judge.path={classifier('udlm', 'noisy')}"))
    with pytest.raises(ValueError, match="Expected one class in `label` for D-CBG"):
        evaluate(configured(*common[:-1], "guidance=classifier_based", "label=each"))
    assert not (tmp_path / "out").exists()


def test_a_missing_judge_is_trained_by_one_command(
    configured: Configured, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    common = [f"checkpoint={checkpoint('udlm')}", "judge=trained", f"output={tmp_path / 'out'}"]
    with pytest.raises(FileNotFoundError, match=r"No clean .*`uv run trainer task=clean_classifier generator=/.*`, or"):
        evaluate(configured(*common))


def test_any_sequence_classifier_judges(tmp_path: Path):
    tokenizer = word_tokenizer(["good bad fine poor"] * 4, vocab_size=60)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    judge = HuggingFaceJudge(str(tmp_path))
    found = judge(["good", "bad fine", "poor"], torch.zeros(3, 1))
    assert found.shape == (3, 2)
    assert np.exp(found).sum(1) == pytest.approx(np.ones(3))
    assert judge.class_names == ("LABEL_0", "LABEL_1")
