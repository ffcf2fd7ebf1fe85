"""Diversity of generated text."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


def split_words(text: str) -> list[str]:
    """Return the words and punctuation marks of a text, in lower case."""
    return _WORD.findall(text.lower())


def remove_special_tokens(text: str, special_tokens: Iterable[str]) -> str:
    """Remove special tokens from a text, and the whitespace around it.

    Args:
        text: Generated text.
        special_tokens: Special tokens of the tokenizer.
    """
    tokens = sorted({token for token in special_tokens if token}, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, tokens)), "", text).strip() if tokens else text.strip()


def unigram_entropy(tokens: Sequence[Hashable]) -> float | None:
    """Return the entropy of the tokens of one sample, in nats; None if it has no tokens.

        H = -Σ_v p_v ln p_v,    p_v = share of token v among the tokens of the sample

    Low entropy reveals text that repeats itself, whose perplexity under a language model is low without being good
    (arXiv 2409.02908). The entropy is at most the logarithm of the number of tokens, so compare samples of one length.

    Args:
        tokens: Tokens of the sample.
    """
    if not len(tokens):
        return None
    shares = np.array(list(Counter(tokens).values())) / len(tokens)
    return float(-(shares * np.log(shares)).sum()) + 0.0


def distinct_n(samples: Iterable[Sequence[Hashable]], n: int) -> float | None:
    """Return the share of distinct n-grams among those of all samples (Li et al., arXiv 1510.03055); None without any.

    The share falls as the number of samples grows, so compare equal numbers.

    Args:
        samples: Tokens of each sample.
        n: Tokens in an n-gram.

    Raises:
        ValueError: If `n` < 1.
    """
    if n < 1:
        raise ValueError(f"Expected `n` >= 1, got {n}.")
    counts: Counter[tuple[Hashable, ...]] = Counter()
    for sample in samples:
        counts.update(tuple(sample[i : i + n]) for i in range(len(sample) - n + 1))
    return len(counts) / counts.total() if counts else None
