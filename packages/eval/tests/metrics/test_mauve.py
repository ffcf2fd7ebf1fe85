"""MAUVE, and the features that it compares."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mauve")
pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from discrete_diffusion.eval.metrics.mauve import TextFeatures, mauve_score


def blobs(shares: list[int], seed: int) -> np.ndarray:
    """Points close about as many far corners as there are shares."""
    rng = np.random.default_rng(seed)
    corners = 10.0 * np.eye(len(shares))
    return np.concatenate([corners[i] + 0.01 * rng.standard_normal((n, len(shares))) for i, n in enumerate(shares)])


def area(p: np.ndarray, q: np.ndarray, scaling: float = 5.0) -> float:
    """The area under the divergence curve of two histograms, by the trapezoidal rule over 2,000 mixtures."""

    def divergence(a: np.ndarray, b: np.ndarray) -> float:
        return float(sum(x * np.log(x / y) for x, y in zip(a, b, strict=True) if x > 0))

    weights = np.linspace(1e-6, 1 - 1e-6, 2000)
    mixtures = [w * p + (1 - w) * q for w in weights]
    x = np.exp([-scaling * divergence(q, r) for r in mixtures] + [-np.inf, 0.0])
    y = np.exp([-scaling * divergence(p, r) for r in mixtures] + [0.0, -np.inf])
    order = np.lexsort((-y, x))
    return float(np.trapezoid(y[order], x[order]))


@pytest.mark.parametrize("second", [[50, 50, 50], [90, 40, 20], [10, 120, 20]])
def test_mauve_is_the_area_under_the_divergence_curve(second: list[int]) -> None:
    found = mauve_score(blobs([50, 50, 50], 0), blobs(second, 1), buckets=3)
    expected = area(np.full(3, 1 / 3), np.array(second) / 150)
    assert found == pytest.approx(expected, abs=0.02)


def test_mauve_is_one_for_equal_sets_and_near_zero_for_distant_ones() -> None:
    points = blobs([30, 30], 0)
    assert mauve_score(points, points.copy()) == pytest.approx(1.0)
    assert mauve_score(points, points + 5.0) < 0.05
    assert mauve_score(points, blobs([40, 20], 1)) == mauve_score(points, blobs([40, 20], 1))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((4, 2), (4, 3)), r"Expected features \(n, d\) and \(m, d\)"),
        (((4,), (4,)), "Expected features"),
        (((1, 2), (4, 2)), "at least two samples and two references, got 1 and 4"),
    ],
)
def test_features_are_checked(shapes: tuple[tuple[int, ...], tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mauve_score(np.zeros(shapes[0]), np.zeros(shapes[1]))


def test_features_are_those_of_the_last_token(tmp_path: Path) -> None:
    words = ["[PAD]", "the", "cat", "sat"]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[PAD]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]").save_pretrained(tmp_path)
    config = transformers.GPT2Config(
        vocab_size=4, n_positions=4, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config).eval()
    model.save_pretrained(tmp_path)
    texts = ["the cat sat", "", "cat", "sat sat sat sat sat sat"]
    found = TextFeatures(tmp_path, batch_size=3)(texts)
    for text, row in zip(texts, found, strict=True):
        ids = [words.index(word) for word in text.split()][:4] or [0]
        with torch.no_grad():
            hidden = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0, -1]
        assert row == pytest.approx(hidden.numpy(), abs=1e-5)
