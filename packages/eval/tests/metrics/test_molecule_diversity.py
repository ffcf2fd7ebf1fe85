import itertools

import numpy as np
import pytest

pytest.importorskip("rdkit")

from rdkit import Chem, DataStructs
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

from discrete_diffusion.eval.metrics import molecule_diversity
from discrete_diffusion.eval.metrics.molecule_diversity import internal_diversity, scaffold, scaffolds

MOLECULES = ["CCO", "CCN", "CCO", "c1ccccc1", "Cc1ccccc1", "CC(=O)NC1CC1", "CCO"]


@pytest.mark.parametrize(("power", "bits"), [(1.0, 1024), (2.0, 1024), (0.5, 64)])
def test_diversity_is_the_mean_over_pairs_in_rdkit(power: float, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = GetMorganGenerator(radius=2, fpSize=bits)
    prints = [generator.GetFingerprint(Chem.MolFromSmiles(one)) for one in MOLECULES]
    pairs = [DataStructs.TanimotoSimilarity(a, b) ** power for a, b in itertools.product(prints, prints)]
    expected = 1 - np.mean(pairs) ** (1 / power)
    assert internal_diversity(MOLECULES, power, bits=bits) == pytest.approx(expected, abs=1e-6)
    monkeypatch.setattr(molecule_diversity, "_ROWS", 2)
    assert internal_diversity(iter(MOLECULES), power, bits=bits) == pytest.approx(expected, abs=1e-6)


def test_diversity_of_few_molecules() -> None:
    assert internal_diversity([]) is None
    assert internal_diversity(["CCO"] * 3) == pytest.approx(0.0, abs=1e-6)
    # Methane and water share nothing: half of the pairs are of a molecule with itself.
    assert internal_diversity(["C", "O"]) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="valid SMILES"):
        internal_diversity(["C1CC"])
    with pytest.raises(ValueError, match=r"Expected `power` > 0, got 0\."):
        internal_diversity(["C"], 0.0)


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("CCO", None),
        ("Cc1ccccc1", "c1ccccc1"),
        ("c1ccccc1CCC2CC2C", "c1ccc(CCC2CC2)cc1"),
        ("C[C@H]1CCCC[CH]1O", "C1CCCCC1"),
        ("OC1CCC(=O)CC1", "O=C1CCCCC1"),
    ],
)
def test_scaffold(smiles: str, expected: str | None) -> None:
    assert scaffold(smiles) == expected


def test_scaffolds_are_distinct() -> None:
    assert scaffolds(["Cc1ccccc1", "C1=CC=CC=C1O", "CCO", "C1CC1"]) == {"c1ccccc1", "C1CC1"}
    assert scaffolds([]) == frozenset()
