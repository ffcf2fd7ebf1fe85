"""How well a classifier tells samples from data."""

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from discrete_diffusion.eval.metrics.dna import kmer_counts

Features = Callable[[Sequence[str]], np.ndarray]
"""From n strings to numbers, (n, d)."""


def kmer_shares(sequences: Sequence[str], k: int = 3) -> np.ndarray:
    """The share of each k-mer in each sequence, (n, 4^k); zeros for a sequence that has none."""
    counts = kmer_counts(sequences, k)
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def discriminator_auroc(
    real: Sequence[str], generated: Sequence[str], *, features: Features = kmer_shares, folds: int = 5, seed: int = 0
) -> float | None:
    """The area under the ROC curve of a logistic regression that tells samples from data by their features.

        AUROC = P(score of a sample > score of a real one),    averaged over the folds of a cross-validation

    1/2 means that the features tell nothing, and 1 that they tell every sample; around 1/2 it scatters, below it too.
    The paper (arXiv 2412.10193) trains a HyenaDNA for this; here any function may give the features, such as the hidden
    states of such a network.

    Args:
        real: sequences that no model was trained on, or at least not copied from.
        features: (n, d) numbers of n sequences.

    Returns:
        None where there are fewer than `folds` of either.

    Raises:
        ValueError: if `folds` < 2, or the features are not (n, d).
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


def _matrix(features: Features, sequences: Sequence[str]) -> np.ndarray:
    made = np.asarray(features(sequences), dtype=np.float64)
    if made.ndim != 2 or len(made) != len(sequences):
        raise ValueError(f"Expected `features` of the shape ({len(sequences)}, d), got {made.shape}.")
    return made
