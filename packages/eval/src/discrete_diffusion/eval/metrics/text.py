"""How varied generated text is."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


def split_words(text: str) -> list[str]:
    """The words and signs of a text, in lower case."""
    return _WORD.findall(text.lower())


def remove_special_tokens(text: str, special_tokens: Iterable[str]) -> str:
    """A text without the special tokens that a model put into it, and without the space around it."""
    tokens = sorted({token for token in special_tokens if token}, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, tokens)), "", text).strip() if tokens else text.strip()


def unigram_entropy(tokens: Sequence[Hashable]) -> float | None:
    """Entropy of the tokens of one sample, in nats; None where it has none.

        H = -Σ_v p_v ln p_v,    p_v the share of the sample's tokens that are v

    It tells a text that repeats itself, whose perplexity under a language model is low for no merit (arXiv 2409.02908).
    It is at most the logarithm of the number of tokens, so that only samples of one length compare.
    """
    if not len(tokens):
        return None
    shares = np.array(list(Counter(tokens).values())) / len(tokens)
    return float(-(shares * np.log(shares)).sum()) + 0.0


def distinct_n(samples: Iterable[Sequence[Hashable]], n: int) -> float | None:
    """Share of the n-grams of all samples that are distinct (Li et al., arXiv 1510.03055); None where there are none.

    It falls as there are more samples, so that only equally many compare.

    Raises:
        ValueError: If `n` < 1.
    """
    if n < 1:
        raise ValueError(f"Expected `n` >= 1, got {n}.")
    counts: Counter[tuple[Hashable, ...]] = Counter()
    for sample in samples:
        counts.update(tuple(sample[i : i + n]) for i in range(len(sample) - n + 1))
    return len(counts) / counts.total() if counts else None
