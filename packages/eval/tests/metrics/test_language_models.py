"""Scores of strings by language models and classifiers of `transformers`, against plain loops."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from discrete_diffusion.eval.metrics.generative_perplexity import GenerativePerplexity, TextPerplexity
from discrete_diffusion.eval.metrics.sequence_classifier import SequenceClassifier

TEXTS = [
    "the cat sat on the mat",
    "a dog",
    "",
    "cat",
    "the mat sat on a dog and a dog sat on the mat and the cat",
    "a cat",
]
WORDS = ["[PAD]", "[END]", "the", "cat", "sat", "on", "mat", "a", "dog", "and"]


def tokenizer(*, end: bool = False, pad: bool = True, limit: int | None = None) -> Any:
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[END]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if end:
        backend.post_processor = processors.TemplateProcessing(single="$A [END]", special_tokens=[("[END]", 1)])
    special = {"eos_token": "[END]", **({"pad_token": "[PAD]"} if pad else {})}
    options = {} if limit is None else {"model_max_length": limit}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **special, **options)


def save(folder: Path, model: Any, own: Any) -> Path:
    model.save_pretrained(folder)
    own.save_pretrained(folder)
    return folder


def sizes(**options: Any) -> Any:
    own = {"vocab_size": len(WORDS), "n_positions": 8, "n_embd": 8, "n_layer": 2, "n_head": 2, "initializer_range": 1.0}
    return transformers.GPT2Config(**own, bos_token_id=1, eos_token_id=1, **options)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(sizes())
    return save(tmp_path_factory.mktemp("gpt2"), model, tokenizer(end=True, pad=False))


def by_hand(folder: Path, text: str, width: int) -> list[float]:
    """The nats of each token but the first: window by window, one position at a time."""
    model = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    ids = [WORDS.index(word) for word in text.split()]
    nats = []
    for place in range(1, len(ids)):
        begin = (place - 1) // (width - 1) * (width - 1)
        with torch.no_grad():
            logits = model(torch.tensor([ids[begin:place]])).logits[0, -1]
        nats.append(-float(logits.log_softmax(-1)[ids[place]]))
    return nats


@pytest.mark.parametrize(("batch_size", "max_length"), [(1, None), (4, None), (100, None), (4, 3), (4, 2)])
def test_perplexity_equals_a_plain_loop(language_model: Path, batch_size: int, max_length: int | None) -> None:
    found = GenerativePerplexity(language_model, batch_size=batch_size, max_length=max_length)(TEXTS)
    expected = [by_hand(language_model, text, max_length or 8) for text in TEXTS]
    assert len(expected[4]) > 8
    assert found.tokens == tuple(map(len, expected))
    assert found.nats == pytest.approx([sum(nats) for nats in expected], rel=1e-4, abs=1e-6)
    every = [one for nats in expected for one in nats]
    assert found.perplexity == pytest.approx(math.exp(sum(every) / len(every)), rel=1e-4)
    assert [one is None for one in found.per_text] == [not nats for nats in expected]
    assert found.per_text[1] == pytest.approx(math.exp(expected[1][0]), rel=1e-4)


def test_perplexity_of_no_text_is_none(language_model: Path) -> None:
    perplexity = GenerativePerplexity(language_model)
    assert perplexity([]) == TextPerplexity((), ())
    assert perplexity([]).perplexity is None
    assert perplexity(["", "cat"]).perplexity is None


def test_perplexity_weights_tokens_and_not_texts() -> None:
    found = TextPerplexity((0.0, 6.0), (1, 2))
    assert found.perplexity == pytest.approx(math.exp(2.0))
    assert found.per_text == pytest.approx((1.0, math.exp(3.0)))


@pytest.mark.parametrize("max_length", [1, 9])
def test_context_longer_than_the_model_is_refused(language_model: Path, max_length: int) -> None:
    with pytest.raises(ValueError, match=f"Expected `max_length` from 2 to 8, got {max_length}"):
        GenerativePerplexity(language_model, max_length=max_length)


def test_missing_model_is_reported_in_one_line(tmp_path: Path) -> None:
    for family in (GenerativePerplexity, SequenceClassifier):
        with pytest.raises(ValueError, match=r"^Expected a folder with a model and its tokenizer[^\n]*none[^\n]*$"):
            family(tmp_path / "none")
        with pytest.raises(ValueError, match="Expected `batch_size` >= 1, got 0"):
            family(tmp_path, batch_size=0)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_log_probabilities_equal_those_of_the_classifier(tmp_path: Path, kind: str, batch_size: int) -> None:
    names = {0: "bad", 1: "so so", 2: "good"}
    torch.manual_seed(0)
    if kind == "bert":
        own = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        config = transformers.BertConfig(
            vocab_size=len(WORDS), max_position_embeddings=8, initializer_range=1.0, id2label=names, **own
        )
        model = transformers.BertForSequenceClassification(config).eval()
    else:
        model = transformers.GPT2ForSequenceClassification(sizes(id2label=names, pad_token_id=0)).eval()
    classifier = SequenceClassifier(save(tmp_path, model, tokenizer(end=kind == "bert")), batch_size=batch_size)
    assert classifier.class_names == ("bad", "so so", "good")
    assert classifier.max_length == 8
    found = classifier(TEXTS)
    assert found.shape == (6, 3)
    assert found.dtype == np.float64
    assert np.exp(found).sum(-1) == pytest.approx(1.0)
    for text, row in zip(TEXTS, found, strict=True):
        ids = [WORDS.index(word) for word in text.split()]
        ids = [*ids[:7], 1] if kind == "bert" else ids[:8] or [0]
        with torch.no_grad():
            expected = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        assert row == pytest.approx(expected.numpy(), abs=1e-4)
    assert classifier([]).shape == (0, 3)
    assert found[0] != pytest.approx(found[1], abs=1e-3)


def test_classifier_reads_as_much_as_its_tokenizer_allows(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = transformers.GPT2ForSequenceClassification(sizes(num_labels=2, pad_token_id=0)).eval()
    folder = save(tmp_path, model, tokenizer(limit=5))
    assert SequenceClassifier(folder).max_length == 5
    assert SequenceClassifier(folder, max_length=3).max_length == 3
    one, other = SequenceClassifier(folder, max_length=3)(["the cat sat on", "the cat sat and a"])
    assert one == pytest.approx(other)
    with pytest.raises(ValueError, match="Expected `max_length` from 2 to 8, got 9"):
        SequenceClassifier(folder, max_length=9)


def test_global_generators_are_not_touched(language_model: Path) -> None:
    before = torch.random.get_rng_state()
    GenerativePerplexity(language_model)(TEXTS)
    assert torch.equal(before, torch.random.get_rng_state())
