import math
from collections import Counter

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from discrete_diffusion.eval.metrics.dna import (
    compare_kmers,
    compare_kmers_by_species,
    gc_content,
    is_dna,
    jensen_shannon_distance,
    jensen_shannon_divergence,
    kmer_counts,
    kmer_spectrum,
    kmers,
)


def random_dna(rng: np.random.Generator, count: int, length: int, p=(0.25, 0.25, 0.25, 0.25)) -> list[str]:
    return ["".join(row) for row in rng.choice(list("ACGT"), (count, length), p=p)]


def test_counts_of_a_hand_computed_example() -> None:
    assert kmers(2)[:5] == ("AA", "AC", "AG", "AT", "CA")
    counts = kmer_counts(["AACNAAC", "acg", "A", "", "A[MASK]C"], 2)
    named = [{kmers(2)[i]: int(row[i]) for i in row.nonzero()[0]} for row in counts]
    assert named == [{"AA": 2, "AC": 2}, {"AC": 1, "CG": 1}, {}, {}, {}]
    assert kmer_spectrum(["AACNAAC", "acg"], 2)[[0, 1, 6]] == pytest.approx([2 / 6, 3 / 6, 1 / 6])
    assert not kmer_spectrum(["A", "NN"], 2).any()
    assert kmer_counts([], 3).shape == (0, 64)
    with pytest.raises(ValueError, match="Expected `k` >= 1, got 0"):
        kmer_spectrum(["A"], 0)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_counts_against_a_dictionary(k: int) -> None:
    sequences = random_dna(np.random.default_rng(0), 3, 200)
    for one, row in zip(sequences, kmer_counts(sequences, k), strict=True):
        expected = Counter(one[i : i + k] for i in range(len(one) - k + 1))
        assert {kmers(k)[i]: int(row[i]) for i in row.nonzero()[0]} == dict(expected)


def test_divergence_of_a_hand_computed_example() -> None:
    p, q = np.array([1.0, 0.0]), np.array([0.5, 0.5])
    # m = (3/4, 1/4): KL(p, m) = log 4/3, KL(q, m) = log(2/3) / 2 + log(2) / 2.
    expected = 0.5 * math.log(4 / 3) + 0.25 * (math.log(2 / 3) + math.log(2))
    assert jensen_shannon_divergence(p, q) == pytest.approx(expected)
    assert jensen_shannon_distance(p, q) == pytest.approx(math.sqrt(expected))
    assert jensen_shannon_divergence(p, p) == 0
    assert jensen_shannon_divergence(p, p[::-1]) == pytest.approx(math.log(2))


def test_distance_equals_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for p, q in rng.dirichlet([0.3] * 64, (20, 2)):
        assert jensen_shannon_distance(p, q) == pytest.approx(jensenshannon(p, q))
        assert jensen_shannon_divergence(p, q) == pytest.approx(jensenshannon(p, q) ** 2)


@pytest.mark.parametrize(
    ("p", "q", "message"),
    [
        ([0.5, 0.5], [1.0], "one shape"),
        ([0.5, 0.6], [0.5, 0.5], "sum to 1, got a sum of 1.1"),
        ([0.0, 0.0], [0.5, 0.5], "sum to 1, got a sum of 0"),
        ([1.5, -0.5], [0.5, 0.5], "probabilities"),
    ],
)
def test_arrays_that_are_no_distribution_are_refused(p: list[float], q: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        jensen_shannon_divergence(np.array(p), np.array(q))


def test_chance_adds_as_much_as_documented() -> None:
    rng = np.random.default_rng(0)
    uniform = np.full(4**3, 4.0**-3)
    divergences = [compare_kmers(random_dna(rng, 4, 1000), uniform, 3).divergence for _ in range(20)]
    assert np.mean(divergences) == pytest.approx(63 / (8 * 4 * 998), rel=0.1)


def test_spectra_can_replace_sequences() -> None:
    rng = np.random.default_rng(0)
    a, b = random_dna(rng, 5, 50), random_dna(rng, 5, 50, p=(0.4, 0.1, 0.1, 0.4))
    made = compare_kmers(a, b, 3)
    assert made == compare_kmers(kmer_spectrum(a, 3), kmer_spectrum(b, 3), 3)
    assert made.distance == pytest.approx(jensenshannon(kmer_spectrum(a, 3), kmer_spectrum(b, 3)))
    for empty in ([], ["N"]):
        assert (compare_kmers(empty, b, 3).divergence, compare_kmers(empty, b, 3).distance) == (None, None)


def test_species_count_by_their_share_of_the_data() -> None:
    data = {"a": ["AAAA"] * 3, "b": ["CCCC"], "c": ["GGGG"]}
    made = compare_kmers_by_species({"a": ["AAAA", "TTTT"], "b": ["GGGG"], "c": []}, data, 2)
    half = compare_kmers(["AAAA", "TTTT"], ["AAAA"], 2)
    assert made.divergence == pytest.approx((3 * half.divergence + math.log(2)) / 4)
    assert made.distance == pytest.approx((3 * half.distance + math.sqrt(math.log(2))) / 4)
    assert compare_kmers_by_species({"a": ["N"], "b": []}, data, 2).distance is None
    with pytest.raises(ValueError, match="but not of d"):
        compare_kmers_by_species({"d": ["A"]}, data, 2)


def test_gc_content_and_alphabet() -> None:
    assert [is_dna(one) for one in ("ACGTN", "", "acgt", "AC[MASK]GT", "A C")] == [True, False, False, False, False]
    assert gc_content("GGCANN") == 0.75
    assert math.isnan(gc_content("NN"))
