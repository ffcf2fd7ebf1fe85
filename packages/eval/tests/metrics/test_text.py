"""Diversity of generated text."""

import math

import pytest

from discrete_diffusion.eval.metrics.text import distinct_n, remove_special_tokens, split_words, unigram_entropy


def test_entropy_of_known_distributions() -> None:
    assert unigram_entropy("aaaa") == 0.0
    assert math.copysign(1.0, unigram_entropy("aaaa")) == 1.0
    assert unigram_entropy([3, 1, 2, 0]) == pytest.approx(math.log(4))
    assert unigram_entropy("aab") == pytest.approx(math.log(3) - 2 / 3 * math.log(2))
    assert unigram_entropy([]) is None
    # The grouping property of entropy, with tokens of any kind.
    halves = [("x", 0)] * 4 + [("y", i) for i in range(4)]
    assert unigram_entropy(halves) == pytest.approx(math.log(2) + math.log(4) / 2)


def test_distinct_n_counts_across_samples() -> None:
    samples = ["abab", "ab", "c"]
    assert distinct_n(samples, 1) == pytest.approx(3 / 7)
    assert distinct_n(samples, 2) == pytest.approx(2 / 4)  # ab, ba, ab and ab
    assert distinct_n(samples, 4) == 1.0
    assert distinct_n(samples, 5) is None
    assert distinct_n([[0, 1], [0, 1]], 2) == 0.5
    with pytest.raises(ValueError, match="Expected `n` >= 1, got 0"):
        distinct_n(samples, 0)


def test_words_and_punctuation_marks() -> None:
    assert split_words("It's GOOD, isn’t it?  (yes)") == ["it's", "good", ",", "isn’t", "it", "?", "(", "yes", ")"]
    assert split_words("") == []


def test_special_tokens_are_removed() -> None:
    assert remove_special_tokens("[MASK] a [PAD]b[PAD]", ["[PAD]", "[MASK]"]) == "a b"
    assert remove_special_tokens("<|end|>a.b<|end|>", ["<|end|>", "."]) == "ab"
    assert remove_special_tokens("<m><mask>", ["<m", "<m>", "<mask>", ""]) == ""
    assert remove_special_tokens(" a ", []) == "a"
