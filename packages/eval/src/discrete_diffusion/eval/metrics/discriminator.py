"""Discriminability of samples and data."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Real
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from discrete_diffusion.eval.metrics.dna import LETTERS, kmer_counts

Features = Callable[[Sequence[str]], Real[np.ndarray, "n d"]]
"""Function from n strings to their features."""


def kmer_shares(sequences: Sequence[str], k: int = 3, letters: str = LETTERS) -> Float[np.ndarray, "n kmers"]:
    """Return the share of each k-mer in each sequence; zeros for a sequence without any.

    Args:
        sequences: Sequences.
        k: Letters in a k-mer.
        letters: Alphabet, in upper case; by default that of DNA.

    Raises:
        ValueError: If `k` < 1.
    """
    counts = kmer_counts(sequences, k, letters)
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def discriminator_auroc(
    real: Sequence[str], generated: Sequence[str], *, features: Features = kmer_shares, folds: int = 5, seed: int = 0
) -> float | None:
    """Return the area under the ROC curve of a logistic regression that separates samples from data.

        AUROC = P(score of a sample > score of a real sequence),    mean over the folds of a cross-validation

    At 1/2 samples and data are indistinguishable by these features, at 1 they are separable. Estimates near 1/2 scatter
    on both sides of it. arXiv 2412.10193 trains a HyenaDNA as discriminator; here any function can compute the
    features, such as the hidden states of that network.

    Args:
        real: Sequences, ideally held out from training.
        generated: Samples.
        features: Function from n sequences to features (n, d).
        folds: Folds of the cross-validation.
        seed: Seed of the assignment to folds.

    Returns:
        The area, or None if there are fewer than `folds` real or generated sequences.

    Raises:
        ValueError: If `folds` < 2, or the features do not have shape (n, d).
    """
    if folds < 2:
        raise ValueError(f"Expected `folds` >= 2, got {folds}.")
    if min(len(real), len(generated)) < folds:
        return None
    x = np.concatenate([_matrix(features, real), _matrix(features, generated)])
    y = np.repeat([0, 1], [len(real), len(generated)])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced"))
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return float(cross_val_score(model, x, y, cv=split, scoring="roc_auc").mean())


def _matrix(features: Features, sequences: Sequence[str]) -> Float[np.ndarray, "n d"]:
    values = np.asarray(features(sequences), dtype=np.float64)
    if values.ndim != 2 or len(values) != len(sequences):
        raise ValueError(f"Expected `features` of shape ({len(sequences)}, d), got {values.shape}.")
    return values
