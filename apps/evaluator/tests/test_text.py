"""Metrics of generated text."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import GPT2Config, GPT2LMHeadModel

from discrete_diffusion.datasets import SequenceData, character_tokenizer, sequence_data
from discrete_diffusion.datasets.reviews import reviews
from discrete_diffusion.datasets.word_tokenizer import word_tokenizer
from discrete_diffusion.evaluator.domains.domain import Run
from discrete_diffusion.evaluator.domains.text import Text
from discrete_diffusion.evaluator.point import Point


@pytest.fixture(scope="module")
def data() -> SequenceData:
    return sequence_data(reviews(300), "text", tokenizer=word_tokenizer)


@pytest.fixture(scope="module")
def language_model(data: SequenceData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    config = GPT2Config(
        vocab_size=len(data.tokenizer), n_positions=64, n_embd=8, n_layer=1, n_head=2, bos_token_id=2, eos_token_id=3
    )
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    data.tokenizer.save_pretrained(folder)
    return folder


def test_the_numbers_are_those_of_a_plain_count(data: SequenceData):
    known = data.train.with_format(None)["text"][0]
    strings = [known, "the plot is good.", "good good", "good good", "[MASK] good[PAD]", "[PAD]", ""]
    outcome = Text(data)(strings)
    numbers = outcome.numbers
    assert (numbers["generated"], numbers["distinct"], numbers["novel"]) == (7, 6, 3)
    assert outcome.novel == ["the plot is good.", "good good", "[MASK] good[PAD]"]
    assert outcome.values == pytest.approx([math.log(5), 0.0, 0.0])
    assert [sample["novel"] for sample in outcome.samples] == [False, True, True, True, True, False, False]
    assert outcome.samples[-1]["property"] is None
    words = known.replace(".", " .").replace(",", " ,").split()
    counts = np.array([words.count(word) for word in dict.fromkeys(words)]) / len(words)
    entropies = [-(counts * np.log(counts)).sum(), math.log(5), 0.0, 0.0, 0.0]
    assert numbers["unigram_entropy"] == pytest.approx(np.mean(entropies))
    assert numbers["all_property_mean"] == pytest.approx(np.mean(entropies))
    every = [*words, "the", "plot", "is", "good", ".", *["good"] * 5]
    assert numbers["distinct_1"] == pytest.approx(len(set(every)) / len(every))
    assert "generative_perplexity" not in numbers
    assert "mauve" not in numbers


def test_training_texts_are_known_however_they_are_spaced(data: SequenceData):
    metrics = Text(data)
    texts = data.train.with_format(None)["text"][:]
    assert metrics([text.replace(".", " .") for text in texts]).novel == []
    assert metrics(data.validation.with_format(None)["text"][:]).numbers["novel"] == len(data.validation)
    assert len(Text(data, known_rows=10)(texts).novel) == len(texts) - 10


def test_the_property_can_be_another(data: SequenceData):
    metrics = Text(data, property=len, reference_rows=50)
    lengths = [len(text) for text in data.examples(50).with_format(None)["text"][:]]
    assert metrics.property_name == "len"
    assert metrics.training["mean"] == pytest.approx(np.mean(lengths))
    assert metrics(["abc", "a [MASK]"]).values == [3.0, 1.0]
    assert metrics.accepts("a[MASK]")
    assert not metrics.accepts("[MASK] [PAD]")


def test_nothing_generated_has_no_numbers_that_are_none(data: SequenceData):
    numbers = Text(data)([""]).numbers
    assert (numbers["generated"], numbers["distinct"], numbers["novel"]) == (1, 1, 0)
    assert numbers["unigram_entropy"] is None
    assert numbers["distinct_1"] is None
    assert numbers["novel_property_mean"] is None


def test_characters_are_tokens_too():
    rows = reviews(60).select_columns("text")
    metrics = Text(sequence_data(rows, "text", tokenizer=character_tokenizer))
    assert metrics(["abab<mask>"]).values == pytest.approx([math.log(2)])


def test_a_language_model_adds_its_perplexity_and_a_frontier(data: SequenceData, language_model: Path, tmp_path: Path):
    metrics = Text(data, perplexity_model=str(language_model), batch_size=3)
    runs = []
    for gamma in (None, 0.0, 2.0):
        for seed in (1, 2):
            texts = data.validation.with_format(None)["text"][seed : seed + 5]
            condition = Point("none" if gamma is None else "D-CFG", gamma, "positive", 5)
            runs.append(Run(condition, seed, metrics([*texts, "good"])))
    numbers, samples = runs[0].outcome.numbers, runs[0].outcome.samples
    assert 1 < numbers["generative_perplexity"] < 10 * len(data.tokenizer)
    assert samples[-1]["perplexity"] is None
    assert metrics([samples[0]["string"]]).numbers["generative_perplexity"] == pytest.approx(samples[0]["perplexity"])
    (path,) = metrics.draw(runs, tmp_path, chosen=runs[0].condition, shown=4)
    with Image.open(path) as image:
        assert image.format == "PNG"
    assert Text(data).draw(runs, tmp_path, chosen=runs[0].condition, shown=4) == []


def test_mauve_is_a_column_if_its_model_is_set(data: SequenceData, language_model: Path):
    pytest.importorskip("mauve")
    metrics = Text(data, mauve_model=str(language_model), reference_rows=40)
    score = metrics(data.validation.with_format(None)["text"][:]).numbers["mauve"]
    assert 0 < score <= 1
    assert metrics(["good"]).numbers["mauve"] is None


def test_a_model_that_is_not_there_is_one_clear_line(data: SequenceData, tmp_path: Path):
    with pytest.raises(ValueError, match=r"^Expected a folder with a model and its tokenizer[^\n]*$"):
        Text(data, perplexity_model=str(tmp_path / "none"))
