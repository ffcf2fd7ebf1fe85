"""Composition and physical properties of proteins, and their similarity to known ones."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import sparse

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
"""The 20 standard amino acids, by their one-letter codes."""

OTHER_RESIDUES = "BJOUXZ"
"""Asx, Xle, pyrrolysine, selenocysteine, unknown and Glx."""

HYDROPATHY = {
    "A": 1.8, "C": 2.5, "D": -3.5, "E": -3.5, "F": 2.8, "G": -0.4, "H": -3.2, "I": 4.5, "K": -3.9, "L": 3.8,
    "M": 1.9, "N": -3.5, "P": -1.6, "Q": -3.5, "R": -4.5, "S": -0.8, "T": -0.7, "V": 4.2, "W": -0.9, "Y": -1.3,
}  # fmt: skip
"""Hydropathy of each amino acid (Kyte and Doolittle, Journal of Molecular Biology 157, 1982)."""

POSITIVE_PK = {"K": 10.8, "R": 12.5, "H": 6.5}
NEGATIVE_PK = {"D": 3.9, "E": 4.1, "C": 8.5, "Y": 10.1}
AMINO_TERMINUS_PK, CARBOXYL_TERMINUS_PK = 8.6, 3.6
"""pK values of EMBOSS (`Epk.dat`)."""


def is_protein(sequence: str) -> bool:
    """Return whether a string consists of amino acids in upper case, B, J, O, U, X and Z included, and is not empty."""
    return bool(sequence) and set(sequence) <= {*AMINO_ACIDS, *OTHER_RESIDUES}


def hydrophobicity(sequence: str) -> float:
    """Return the grand average of hydropathy (GRAVY): the mean over the standard amino acids; NaN without any."""
    values = [HYDROPATHY[letter] for letter in sequence if letter in HYDROPATHY]
    return sum(values) / len(values) if values else math.nan


def net_charge(sequence: str, ph: float = 7.0) -> float:
    """Return the net charge in elementary charges, by the Henderson-Hasselbalch equation.

        Σ_{basic groups} 1 / (1 + 10^(pH - pK)) - Σ_{acidic groups} 1 / (1 + 10^(pK - pH))

    over the side chains and both ends of the chain, each as if it were alone.

    Args:
        sequence: Protein, in upper case.
        ph: pH of the solution.
    """
    if not sequence:
        return 0.0
    charge = 1 / (1 + 10 ** (ph - AMINO_TERMINUS_PK)) - 1 / (1 + 10 ** (CARBOXYL_TERMINUS_PK - ph))
    charge += sum(sequence.count(letter) / (1 + 10 ** (ph - pk)) for letter, pk in POSITIVE_PK.items())
    return charge - sum(sequence.count(letter) / (1 + 10 ** (pk - ph)) for letter, pk in NEGATIVE_PK.items())


def low_complexity(sequence: str, window: int = 12, bits: float = 2.2) -> float:
    """Return the share of residues in windows of low entropy, in [0, 1]; 0 for sequences shorter than a window.

    A window has low complexity if the Shannon entropy of its letters is at most `bits`. These are the window and the
    threshold at which SEG begins a segment (Wootton and Federhen, Computers & Chemistry 17, 1993); its optimization of
    the ends of a segment is left out.

    Args:
        sequence: Protein.
        window: Residues in a window.
        bits: Largest entropy of a window of low complexity.

    Raises:
        ValueError: If `window` < 1.
    """
    if window < 1:
        raise ValueError(f"Expected `window` >= 1, got {window}.")
    if len(sequence) < window:
        return 0.0
    codes = np.unique(np.array([*sequence]), return_inverse=True)[1]
    seen = np.concatenate([np.zeros((1, codes.max() + 1)), np.eye(codes.max() + 1)[codes].cumsum(0)])
    shares = (seen[window:] - seen[:-window]) / window
    entropy = -(shares * np.log2(np.where(shares > 0, shares, 1.0))).sum(1)
    inside = np.zeros(len(sequence), dtype=bool)
    for start in (entropy <= bits + 1e-9).nonzero()[0]:
        inside[start : start + window] = True
    return float(inside.mean())


def edit_distances(sequence: str, others: Sequence[str]) -> Float[np.ndarray, " n"]:
    """Return the Levenshtein distance of a sequence to each of the others.

    It is the smallest number of insertions, deletions and substitutions, of cost 1 each; O(len(sequence) Σ len(other))
    operations, all `others` at once.

    Args:
        sequence: Sequence.
        others: Sequences to compare with.
    """
    lengths = np.array([len(one) for one in others], dtype=np.int64)
    width = int(lengths.max(initial=0))
    padded = np.zeros((len(others), width), dtype=np.uint32)
    for row, one in zip(padded, others, strict=True):
        row[: len(one)] = [ord(letter) for letter in one]
    steps = np.arange(width + 1)
    previous = np.tile(steps, (len(others), 1))
    for i, letter in enumerate(sequence, 1):
        current = np.empty_like(previous)
        current[:, 0] = i
        current[:, 1:] = np.minimum(previous[:, 1:] + 1, previous[:, :-1] + (padded != ord(letter)))
        # An insertion adds 1 for each step to the right: a running minimum in coordinates that move along.
        previous = np.minimum.accumulate(current - steps, axis=1) + steps
    return previous[np.arange(len(others)), lengths].astype(np.float64)


class NearestSequences:
    """Identity of sequences to the nearest of known ones.

        identity(x, y) = 1 - (edit distance of x and y) / max(len(x), len(y))

    The distance is computed to the `candidates` references with the largest share of k-mers in common with x (Jaccard
    index), so the identity is a lower bound of the largest one; with as many candidates as references it is exact.

    Args:
        references: Known sequences.
        k: Letters in a k-mer.
        candidates: Number of references whose distance is computed.

    Raises:
        ValueError: If there are no references, or `k` or `candidates` is below 1.
    """

    def __init__(self, references: Sequence[str], k: int = 3, candidates: int = 20) -> None:
        if not references:
            raise ValueError("Expected `references` to compare with, got none.")
        if min(k, candidates) < 1:
            raise ValueError(f"Expected `k` and `candidates` >= 1, got {k} and {candidates}.")
        self.references = list(dict.fromkeys(references))
        self.k, self.candidates = k, candidates
        sets = [self._kmers(one) for one in self.references]
        self._column = {kmer: i for i, kmer in enumerate(sorted(set().union(*sets)))}
        self._sizes = np.array([len(one) for one in sets])
        rows = np.repeat(np.arange(len(sets)), self._sizes)
        columns = np.array([self._column[kmer] for one in sets for kmer in one], dtype=np.int64)
        shape = (len(sets), max(len(self._column), 1))
        self._index = sparse.csc_matrix((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=shape)

    def identities(self, sequences: Sequence[str]) -> Float[np.ndarray, " n"]:
        """Return the identity of each sequence to its nearest reference, in [0, 1].

        Args:
            sequences: Sequences; the empty one has identity 0 to every other.
        """
        return np.array([self._identity(one) for one in sequences], dtype=np.float64)

    def _identity(self, sequence: str) -> float:
        own = self._kmers(sequence)
        known = [self._column[kmer] for kmer in own if kmer in self._column]
        shared = np.asarray(self._index[:, known].sum(1)).ravel()
        jaccard = shared / np.maximum(self._sizes + len(own) - shared, 1)
        best = np.argsort(-jaccard, kind="stable")[: self.candidates]
        others = [self.references[i] for i in best]
        longest = np.maximum([len(one) for one in others], max(len(sequence), 1))
        return float((1 - edit_distances(sequence, others) / longest).max())

    def _kmers(self, sequence: str) -> set[str]:
        return {sequence[i : i + self.k] for i in range(len(sequence) - self.k + 1)}
