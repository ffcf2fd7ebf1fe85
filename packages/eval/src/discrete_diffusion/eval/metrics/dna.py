"""Spectra of k-mers, and how far two of them are apart."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

LETTERS = "ACGT"

_CODE = np.full(256, -1, dtype=np.int64)
for _letters in (LETTERS, LETTERS.lower()):
    _CODE[[ord(letter) for letter in _letters]] = range(4)


def kmers(k: int) -> tuple[str, ...]:
    """All strings of k letters A, C, G, T in lexicographic order, which is that of every spectrum."""
    return tuple("".join(letters) for letters in product(LETTERS, repeat=k))


def kmer_counts(sequences: Sequence[str], k: int) -> np.ndarray:
    """How often each k-mer occurs in each sequence, (n, 4^k), int64.

    Windows overlap; one with another letter in it, such as N, counts for nothing.

    Raises:
        ValueError: if `k` < 1.
    """
    return np.stack([_counts(one, k) for one in sequences]) if len(sequences) else np.zeros((0, 4**k), dtype=np.int64)


def kmer_spectrum(sequences: Iterable[str], k: int) -> np.ndarray:
    """The share of each k-mer among those of all sequences, (4^k,); zeros where there are none.

    Raises:
        ValueError: if `k` < 1.
    """
    counts = np.zeros(4**k, dtype=np.int64)
    for one in sequences:
        counts += _counts(one, k)
    return counts / max(counts.sum(), 1)


def jensen_shannon_divergence(p: np.ndarray, q: np.ndarray) -> float:
    """What one draw tells of which of two laws it came from, each as likely beforehand, in nats.

        JSD(p, q) = KL(p ‖ m) / 2 + KL(q ‖ m) / 2,    m = (p + q) / 2,    0 <= JSD <= log 2

    (Lin, IEEE Transactions on Information Theory 37, 1991).

    Raises:
        ValueError: if `p` and `q` are not of one shape (n,), or one does not sum to 1.
    """
    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    if p.ndim != 1 or p.shape != q.shape:
        raise ValueError(f"Expected two laws of one shape (n,), got {p.shape} and {q.shape}.")
    for law in (p, q):
        if (law < 0).any() or not math.isclose(law.sum(), 1.0, abs_tol=1e-6):
            raise ValueError(f"Expected probabilities that sum to 1, got a sum of {law.sum():g}.")
    m = (p + q) / 2
    return max(0.0, sum(0.5 * float((law[law > 0] * np.log(law[law > 0] / m[law > 0])).sum()) for law in (p, q)))


def jensen_shannon_distance(p: np.ndarray, q: np.ndarray) -> float:
    """The square root of the divergence in nats: a metric, at most √(log 2) = 0.833.

    This is what arXiv 2412.10193 reports as "k-mer JS": its code calls `scipy.spatial.distance.jensenshannon`, which
    returns the distance, in nats.

    Raises:
        ValueError: as `jensen_shannon_divergence` does.
    """
    return math.sqrt(jensen_shannon_divergence(p, q))


@dataclass(frozen=True)
class KmerComparison:
    """How far the k-mers of samples are from those of data; None where either has none.

    Attributes:
        k: letters in a k-mer.
        divergence: the Jensen-Shannon divergence of the spectra, in nats.
        distance: its square root.
    """

    k: int
    divergence: float | None
    distance: float | None


def compare_kmers(
    generated: "Iterable[str] | np.ndarray", reference: "Iterable[str] | np.ndarray", k: int
) -> KmerComparison:
    """Compares two sets of sequences, or their spectra where those are known.

    Both numbers are above zero for any finite samples: of n windows, about (4^k - 1) / (8 n) nats in the divergence are
    chance. Compare with what as many sequences of held-out data give.
    """
    p, q = (one if isinstance(one, np.ndarray) else kmer_spectrum(one, k) for one in (generated, reference))
    if not p.any() or not q.any():
        return KmerComparison(k, None, None)
    divergence = jensen_shannon_divergence(p, q)
    return KmerComparison(k, divergence, math.sqrt(divergence))


def compare_kmers_by_species(
    generated: Mapping[str, Sequence[str]], reference: Mapping[str, Sequence[str]], k: int
) -> KmerComparison:
    """Compares each species' samples with its own data, and averages over species with their shares of the data.

        Σ_s n_s d(samples of s, data of s) / Σ_s n_s,    n_s sequences of s in `reference`

    for the divergence and for the distance, as arXiv 2412.10193 averages the distance. Species without samples are left
    out.

    Raises:
        ValueError: if samples are of a species that the data do not have.
    """
    missing = sorted({species for species, samples in generated.items() if samples} - set(reference))
    if missing:
        raise ValueError(
            f"Expected data of every species that there are samples of, but {', '.join(missing)} has none."
        )
    made = {species: compare_kmers(samples, reference[species], k) for species, samples in generated.items() if samples}
    told = {species: one for species, one in made.items() if one.divergence is not None}
    if not told:
        return KmerComparison(k, None, None)
    weights = [len(reference[species]) for species in told]
    divergence, distance = (
        float(np.average([getattr(one, name) for one in told.values()], weights=weights))
        for name in ("divergence", "distance")
    )
    return KmerComparison(k, divergence, distance)


def _counts(sequence: str, k: int) -> np.ndarray:
    if k < 1:
        raise ValueError(f"Expected `k` >= 1, got {k}.")
    codes = _CODE[np.frombuffer(sequence.encode("ascii", "replace"), dtype=np.uint8)]
    windows = max(len(codes) - k + 1, 0)
    index, known = np.zeros(windows, dtype=np.int64), np.ones(windows, dtype=bool)
    for i in range(k):
        letter = codes[i : i + windows]
        index = 4 * index + letter
        known &= letter >= 0
    return np.bincount(index[known], minlength=4**k)


def is_dna(sequence: str) -> bool:
    """Whether a string is made of A, C, G, T and N alone, and is not empty."""
    return bool(sequence) and set(sequence) <= {*LETTERS, "N"}


def gc_content(sequence: str) -> float:
    """The share of G and C among the letters A, C, G and T, in [0, 1]; NaN where there are none.

    (n_G + n_C) / (n_A + n_C + n_G + n_T)
    """
    strong, weak = (sum(map(sequence.count, pair)) for pair in ("CG", "AT"))
    return strong / (strong + weak) if strong + weak else math.nan
