import itertools
import math

import numpy as np
import pytest

pytest.importorskip("rdkit")

from rdkit import Chem, DataStructs
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

from discrete_diffusion.eval import (
    MosesReference,
    cosine_similarity,
    internal_diversity,
    moses_metrics,
    nearest_neighbor_similarity,
    passes_filters,
)
from discrete_diffusion.eval.metrics import moses

SAMPLES = ["CCO", "c1ccccc1-c1ccccc1", "CC(=O)NC1CC1", "CCO", "Cc1ccccc1", "CCN"]
TEST = ["CCC", "OCC", "c1ccc2ccccc2c1", "CCOc1ccccc1"]


def similarity(one: str, other: str) -> float:
    generator = GetMorganGenerator(radius=2, fpSize=1024)
    prints = [generator.GetFingerprint(Chem.MolFromSmiles(smiles)) for smiles in (one, other)]
    return DataStructs.TanimotoSimilarity(*prints)


def test_shares() -> None:
    numbers = moses_metrics(["CCO", "OCC", "CCC", "C1CC", "", "CCN", "C[N+](C)(C)C", "bad"], ["CCO"], training=["CCO"])
    assert numbers["valid"] == 5 / 8
    assert numbers["unique@1000"] == numbers["unique@10000"] == 4 / 5
    assert numbers["Novelty"] == 3 / 4
    assert numbers["Filters/PAINS"] == 4 / 5
    assert "Filters" not in numbers
    assert moses_metrics(["CCO", "CCC"], ["CCO"], mcf=["[#6]-[OX2H]"])["Filters"] == 1 / 2


def test_uniqueness_of_the_first_valid_ones() -> None:
    samples = ["C" * (i + 1) for i in range(20)] * 50 + ["O", "N"]
    numbers = moses_metrics(["bad", *samples], ["C"])
    assert numbers["unique@1000"] == 20 / 1000
    assert numbers["unique@10000"] == 22 / 1002


def test_similarities_and_diversity_are_those_of_rdkit(monkeypatch: pytest.MonkeyPatch) -> None:
    nearest = np.mean([max(similarity(one, other) for other in TEST) for one in SAMPLES])
    pairs = np.array([similarity(*pair) for pair in itertools.product(SAMPLES, repeat=2)]).reshape(6, 6)
    for _ in range(2):
        numbers = moses_metrics(SAMPLES, TEST, ["CCN"])
        assert numbers["SNN/Test"] == pytest.approx(nearest, abs=1e-6)
        assert numbers["SNN/TestSF"] == pytest.approx(np.mean([similarity(one, "CCN") for one in SAMPLES]), abs=1e-6)
        assert numbers["IntDiv"] == pytest.approx(1 - pairs.mean(), abs=1e-6)
        assert numbers["IntDiv2"] == pytest.approx(1 - np.mean(np.sqrt((pairs**2).mean(1))), abs=1e-6)
        monkeypatch.setattr(moses, "_ROWS", 4)
        monkeypatch.setattr(moses, "_COLUMNS", 3)


def test_second_diversity_takes_the_root_before_the_mean_over_molecules() -> None:
    # Methane twice and water, which share nothing: rows of similarities (1, 1, 0), (1, 1, 0) and (0, 0, 1).
    numbers = moses_metrics(["C", "C", "O"], ["C"])
    assert numbers["IntDiv"] == pytest.approx(1 - 5 / 9)
    assert numbers["IntDiv2"] == pytest.approx(1 - (2 * math.sqrt(2 / 3) + math.sqrt(1 / 3)) / 3)
    assert internal_diversity(["C", "C", "O"], 2.0) == pytest.approx(1 - math.sqrt(5 / 9))


def test_cosine_similarity() -> None:
    assert cosine_similarity({"a": 1, "b": 2}, {"b": 2, "c": 1}) == pytest.approx(4 / 5)
    assert cosine_similarity({"a": 3}, {"a": 7}) == pytest.approx(1.0)
    assert cosine_similarity({"a": 3}, {"b": 7}) == 0.0
    assert cosine_similarity({}, {"a": 1}) is None
    assert cosine_similarity({"a": 1}, {}) is None


def test_fragments_and_scaffolds() -> None:
    # BRICS cuts both bonds of an ether between an alkyl group and an aromatic ring, and none of ethane.
    reference = MosesReference.of(["CCOc1ccccc1", "CCOc1ccccc1", "CC", "Cc1ccc(-c2ccccc2)cc1", "CC1CC1"])
    ether = {"[4*]CC": 2, "[3*]O[3*]": 2, "[16*]c1ccccc1": 3, "[16*]c1ccc(C)cc1": 1, "CC": 1, "CC1CC1": 1}
    assert reference.fragments == ether
    assert reference.scaffolds == {"c1ccc(-c2ccccc2)cc1": 1}  # a single ring does not count
    numbers = moses_metrics(["CC", "Cc1ccccc1"], reference)
    # In common: ethane. Squares: 1 + 1, and 4 + 4 + 9 + 1 + 1 + 1.
    assert numbers["Frag/Test"] == pytest.approx(1 / math.sqrt(2 * 20))
    assert numbers["Scaf/Test"] is None


def test_distances_of_properties() -> None:
    numbers = moses_metrics(["CO"], ["CCO", "CCO"])
    methylene = 12.011 + 2 * 1.008
    assert numbers["weight"] == pytest.approx(methylene, abs=1e-6)
    # Quantiles of (C, C, CCC) against (CC, CC, CC): one methylene each.
    assert moses_metrics(["C", "C", "CCC"], ["CC"] * 3)["weight"] == pytest.approx(methylene, abs=1e-6)
    # Crippen: CH3-C 0.1441, H of C 0.123; CH4 0.1441 too.
    assert moses_metrics(["C"], ["CC"])["logP"] == pytest.approx(0.1441 + 2 * 0.1230, abs=1e-6)
    same = moses_metrics(SAMPLES, SAMPLES)
    assert [same[name] for name in ("logP", "SA", "QED", "weight")] == pytest.approx([0.0] * 4, abs=1e-12)


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("CCO", True),
        ("C1CCCCCC1", True),
        ("C1CCCCCCC1", False),  # ring of 8
        ("C[N+](C)(C)C", False),
        ("C[N+](=O)[O-]", False),
        ("CP", False),
        ("CBr", True),
        ("CI", False),
        ("O=C1NC(=S)SC1=Cc1ccccc1", False),  # a rhodanine, in PAINS
    ],
)
def test_filters(smiles: str, expected: bool) -> None:
    assert passes_filters(smiles) is expected


def test_patterns_see_hydrogens() -> None:
    assert not passes_filters("CCl", ["[H]C([H])([H])Cl"])
    assert passes_filters("CC(C)Cl", ["[H]C([H])([H])Cl"])
    with pytest.raises(ValueError, match="SMARTS pattern, got"):
        passes_filters("CCl", ["("])


def test_references_can_be_reused_and_repeats_count() -> None:
    reference = MosesReference.of(TEST)
    assert moses_metrics(SAMPLES, reference, reference) == moses_metrics(SAMPLES, TEST, TEST)
    assert len(MosesReference.of(["CCO", "CCO"]).fingerprints) == 2
    assert nearest_neighbor_similarity(reference, reference) == pytest.approx(1.0)


def test_nothing_to_compare() -> None:
    assert set(moses_metrics([], ["CCO"], ["CCO"], ["CCO"]).values()) == {None}
    numbers = moses_metrics(["CCO"], [])
    assert numbers["SNN/Test"] is numbers["Frag/Test"] is numbers["weight"] is None
    with pytest.raises(ValueError, match="valid SMILES"):
        moses_metrics(["CCO"], ["C1CC"])
