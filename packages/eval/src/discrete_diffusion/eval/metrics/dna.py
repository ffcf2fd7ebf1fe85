"""Composition of sequences: k-mer spectra and their distances; GC content of DNA."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from jaxtyping import Float, Int

LETTERS = "ACGT"


def kmers(k: int, letters: str = LETTERS) -> tuple[str, ...]:
    """Return all strings of k letters in lexicographic order of `letters`, the order of every spectrum."""
    return tuple("".join(one) for one in product(letters, repeat=k))


def kmer_counts(sequences: Sequence[str], k: int, letters: str = LETTERS) -> Int[np.ndarray, "n kmers"]:
    """Count each of the 4^k k-mers in each sequence; of another alphabet, len(letters)^k.

    Windows overlap. A window with another letter, such as N, is not counted.

    Args:
        sequences: Sequences, in upper or lower case.
        k: Letters in a k-mer.
        letters: Alphabet, in upper case.

    Raises:
        ValueError: If `k` < 1.
    """
    if not len(sequences):
        return np.zeros((0, len(letters) ** k), dtype=np.int64)
    return np.stack([_counts(one, k, letters) for one in sequences])


def kmer_spectrum(sequences: Iterable[str], k: int, letters: str = LETTERS) -> Float[np.ndarray, " kmers"]:
    """Return the share of each k-mer among those of all sequences; zeros if there are none.

    Args:
        sequences: Sequences, in upper or lower case.
        k: Letters in a k-mer.
        letters: Alphabet, in upper case.

    Raises:
        ValueError: If `k` < 1.
    """
    counts = np.zeros(len(letters) ** k, dtype=np.int64)
    for one in sequences:
        counts += _counts(one, k, letters)
    return counts / max(counts.sum(), 1)


def jensen_shannon_divergence(p: Float[np.ndarray, " n"], q: Float[np.ndarray, " n"]) -> float:
    """Return the Jensen-Shannon divergence of two distributions, in nats.

        JSD(p, q) = KL(p ‖ m) / 2 + KL(q ‖ m) / 2,    m = (p + q) / 2,    0 <= JSD <= log 2

    It is the information of one draw about which of two equally likely distributions it came from (Lin, IEEE
    Transactions on Information Theory 37, 1991).

    Args:
        p: Probabilities.
        q: Probabilities.

    Raises:
        ValueError: If `p` and `q` do not have the same shape (n,), or one is negative or does not sum to 1.
    """
    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    if p.ndim != 1 or p.shape != q.shape:
        raise ValueError(f"Expected two distributions of one shape (n,), got {p.shape} and {q.shape}.")
    for one in (p, q):
        if (one < 0).any() or not math.isclose(one.sum(), 1.0, abs_tol=1e-6):
            raise ValueError(f"Expected probabilities that sum to 1, got a sum of {one.sum():g}.")
    m = (p + q) / 2
    return max(0.0, sum(0.5 * float((one[one > 0] * np.log(one[one > 0] / m[one > 0])).sum()) for one in (p, q)))


def jensen_shannon_distance(p: Float[np.ndarray, " n"], q: Float[np.ndarray, " n"]) -> float:
    """Return the square root of the Jensen-Shannon divergence in nats: a metric, at most √(log 2) = 0.833.

    arXiv 2412.10193 reports this distance as "k-mer JS": its code calls `scipy.spatial.distance.jensenshannon`.

    Args:
        p: Probabilities.
        q: Probabilities.

    Raises:
        ValueError: If `p` and `q` do not have the same shape (n,), or one is negative or does not sum to 1.
    """
    return math.sqrt(jensen_shannon_divergence(p, q))


@dataclass(frozen=True)
class KmerComparison:
    """Distance of the k-mer spectra of samples and data; None if either has no k-mers.

    Args:
        k: Letters in a k-mer.
        divergence: Jensen-Shannon divergence of the spectra, in nats.
        distance: Square root of the divergence.
    """

    k: int
    divergence: float | None
    distance: float | None


def compare_kmers(
    generated: Iterable[str] | Float[np.ndarray, " kmers"],
    reference: Iterable[str] | Float[np.ndarray, " kmers"],
    k: int,
    letters: str = LETTERS,
) -> KmerComparison:
    """Compare the k-mer spectra of samples and data.

    Finite samples differ by chance: n windows add about (4^k - 1) / (8 n) nats to the divergence. Compare with the
    result for equally many sequences of held-out data.

    Args:
        generated: Samples, or their spectrum.
        reference: Data, or their spectrum.
        k: Letters in a k-mer.
        letters: Alphabet, in upper case.

    Raises:
        ValueError: If `k` < 1, or given spectra differ in shape or do not sum to 1.
    """
    p, q = (one if isinstance(one, np.ndarray) else kmer_spectrum(one, k, letters) for one in (generated, reference))
    if not p.any() or not q.any():
        return KmerComparison(k, None, None)
    divergence = jensen_shannon_divergence(p, q)
    return KmerComparison(k, divergence, math.sqrt(divergence))


def compare_kmers_by_species(
    generated: Mapping[str, Sequence[str]], reference: Mapping[str, Sequence[str]], k: int
) -> KmerComparison:
    """Compare the samples of each species with its data, and average over species by their share of the data.

        Σ_s n_s d(samples of s, data of s) / Σ_s n_s,    n_s = number of sequences of s in `reference`

    where d is the divergence or the distance; arXiv 2412.10193 averages the distance in this way. Species without
    samples are left out.

    Args:
        generated: Samples by species.
        reference: Data by species.
        k: Letters in a k-mer.

    Raises:
        ValueError: If a species has samples and no data, or `k` < 1.
    """
    missing = sorted({species for species, samples in generated.items() if samples} - set(reference))
    if missing:
        raise ValueError(
            f"Expected `reference` to have data of every species in `generated`, but not of {', '.join(missing)}."
        )
    weights, divergences, distances = [], [], []
    for species, samples in generated.items():
        one = compare_kmers(samples, reference[species], k) if samples else KmerComparison(k, None, None)
        if one.divergence is not None and one.distance is not None:
            weights.append(len(reference[species]))
            divergences.append(one.divergence)
            distances.append(one.distance)
    if not weights:
        return KmerComparison(k, None, None)
    divergence, distance = (float(np.average(values, weights=weights)) for values in (divergences, distances))
    return KmerComparison(k, divergence, distance)


@lru_cache
def _codes(letters: str) -> np.ndarray:
    """Return the position of each byte in an alphabet, -1 for others."""
    codes = np.full(256, -1, dtype=np.int64)
    for case in (letters, letters.lower()):
        codes[[ord(letter) for letter in case]] = range(len(letters))
    return codes


def _counts(sequence: str, k: int, letters: str) -> np.ndarray:
    if k < 1:
        raise ValueError(f"Expected `k` >= 1, got {k}.")
    codes = _codes(letters)[np.frombuffer(sequence.encode("ascii", "replace"), dtype=np.uint8)]
    windows = max(len(codes) - k + 1, 0)
    index, known = np.zeros(windows, dtype=np.int64), np.ones(windows, dtype=bool)
    for i in range(k):
        letter = codes[i : i + windows]
        index = len(letters) * index + letter
        known &= letter >= 0
    return np.bincount(index[known], minlength=len(letters) ** k)


def is_dna(sequence: str) -> bool:
    """Return whether a string consists of the letters A, C, G, T and N, and is not empty."""
    return bool(sequence) and set(sequence) <= {*LETTERS, "N"}


def gc_content(sequence: str) -> float:
    """Return the share of G and C among the letters A, C, G and T, in [0, 1]; NaN if there are none.

    (n_G + n_C) / (n_A + n_C + n_G + n_T)
    """
    strong, weak = (sum(map(sequence.count, pair)) for pair in ("CG", "AT"))
    return strong / (strong + weak) if strong + weak else math.nan
