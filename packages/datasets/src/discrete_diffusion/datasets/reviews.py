"""Synthetic reviews with a polarity, from a small grammar."""

from random import Random

import datasets
from discrete_diffusion.datasets.review_grammar import NEGATIONS, POLARITIES, SENTIMENT, review

_FRUITLESS = 20_000


def reviews(size: int = 20_000, seed: int = 0) -> datasets.Dataset:
    """Return `size` distinct product reviews of 8 to 30 words with the columns `text` and `polarity`.

    Half of them are "negative" and half "positive", as `review_polarity` judges them. They depend on the seed alone,
    and the first n of a larger set are the set of size n. They stand in for Amazon Polarity: short, with a small
    vocabulary, and separable by a model that handles negation.

    Raises:
        ValueError: If `size` is not positive, or more than the grammar can produce.
    """
    if size < 1:
        raise ValueError(f"Expected `size` >= 1, got {size}.")
    rng = Random(seed)
    found: dict[str, str] = {}
    fruitless = 0
    while len(found) < size:
        polarity = POLARITIES[len(found) % 2]
        text = review(rng, polarity)
        if text in found or not 8 <= len(text.split()) <= 30:
            fruitless += 1
            if fruitless > _FRUITLESS:
                raise ValueError(f"Expected a smaller `size`: after {len(found)} reviews no new one is found.")
            continue
        found[text] = polarity
        fruitless = 0
    return datasets.Dataset.from_dict({"text": list(found), "polarity": list(found.values())})


def sentences(size: int = 20_000, seed: int = 0) -> datasets.Dataset:
    """Return the texts of `reviews` alone, which stand in for LM1B.

    Raises:
        ValueError: If `size` is not positive, or more than the grammar can produce.
    """
    return reviews(size, seed).select_columns("text")


def review_polarity(text: str) -> str | None:
    """Judge a review of the grammar by its words, "positive" or "negative".

        polarity = sign of Σ_i s_i (-1)^{n_i}

    over its words of sentiment, s = ±1, each with the number n of negations among the two words before it. None if they
    cancel or there are none.
    """
    words = [word.strip(".,!?;:") for word in text.lower().split()]
    total = 0
    for i, word in enumerate(words):
        if word in SENTIMENT:
            total += SENTIMENT[word] * (-1) ** sum(before in NEGATIONS for before in words[max(0, i - 2) : i])
    return None if total == 0 else POLARITIES[total > 0]
