"""Metrics of proteins against values by hand and by brute force."""

import math
import random
from functools import cache

import numpy as np
import pytest

from discrete_diffusion.eval import (
    AMINO_ACIDS,
    NearestSequences,
    compare_kmers,
    edit_distances,
    hydrophobicity,
    is_protein,
    kmer_counts,
    kmer_spectrum,
    low_complexity,
    net_charge,
)


def test_what_is_a_protein():
    assert is_protein("MKVLX")
    assert not any(map(is_protein, ["", "mkv", "MK*", "MK<pad>"]))


def test_hydrophobicity_by_hand():
    assert hydrophobicity("IR") == pytest.approx(0.0)
    assert hydrophobicity("AAX") == pytest.approx(1.8)
    assert math.isnan(hydrophobicity("X"))


def test_charge_by_hand():
    ends = 1 / (1 + 10**-1.6) - 1 / (1 + 10**-3.4)
    assert net_charge("G") == pytest.approx(ends)
    assert net_charge("GK") == pytest.approx(ends + 1 / (1 + 10**-3.8))
    assert net_charge("GD", ph=3.9) == pytest.approx(1 / (1 + 10**-4.7) - 1 / (1 + 10**-0.3) - 0.5)
    assert net_charge("KKRR") > 3 > -3 > net_charge("DDEE")
    assert net_charge("") == 0


def test_low_complexity_by_hand():
    assert low_complexity("A" * 11) == 0
    assert low_complexity("A" * 12) == 1
    assert low_complexity("ACDEFGHIKLMN") == 0
    # four letters three times each have an entropy of 2 bits, six letters twice each one of 2.58
    assert low_complexity("ACDE" * 3) == 1
    assert low_complexity("ACDEFG" * 2) == 0
    # windows with at least seven Q, of an entropy of 1.95 bits, begin at the eighth letter; six Q have 2.29 bits
    assert low_complexity("ACDEFGHIKLMN" + "Q" * 12) == pytest.approx(17 / 24)
    with pytest.raises(ValueError, match="Expected `window` >= 1, got 0"):
        low_complexity("A", window=0)


def test_kmers_of_amino_acids():
    counts = kmer_counts(["AAC", "acX"], 2, AMINO_ACIDS)
    assert counts.shape == (2, 400)
    assert counts[:, :2].tolist() == [[1, 1], [0, 1]]
    assert counts.sum() == 3
    spectrum = kmer_spectrum(["ACDE"], 1, AMINO_ACIDS)
    assert spectrum[:4].tolist() == [0.25] * 4
    assert compare_kmers(["ACDE"], spectrum, 1, AMINO_ACIDS).distance == 0
    assert compare_kmers(["WY"], spectrum, 1, AMINO_ACIDS).divergence == pytest.approx(math.log(2))


def levenshtein(a: str, b: str) -> int:
    @cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return distance(len(a), len(b))


def test_edit_distances_against_the_recursion():
    rng = random.Random(0)
    words = ["".join(rng.choices("ACD", k=rng.randint(0, 9))) for _ in range(40)]
    for word in words[:10]:
        assert edit_distances(word, words).tolist() == [levenshtein(word, other) for other in words]
    assert edit_distances("AC", []).tolist() == []


def test_nearest_sequences():
    rng = random.Random(0)
    references = ["".join(rng.choices(AMINO_ACIDS, k=60)) for _ in range(50)]
    changed = references[7][:20] + "W" + references[7][21:40] + references[7][45:]
    nearest = NearestSequences(references, candidates=3)
    found = nearest.identities([references[3], changed, "", "W"])
    substituted = references[7][20] != "W"
    assert found[:3].tolist() == pytest.approx([1.0, 1 - (5 + substituted) / 60, 0.0])
    every = NearestSequences(references, candidates=50).identities(["".join(rng.choices(AMINO_ACIDS, k=60))])
    assert np.all(every < 0.4)
    with pytest.raises(ValueError, match="Expected `references`"):
        NearestSequences([])
    with pytest.raises(ValueError, match="Expected `k` and `candidates` >= 1"):
        NearestSequences(["A"], k=0)
