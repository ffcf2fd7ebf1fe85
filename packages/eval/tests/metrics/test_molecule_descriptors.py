import numpy as np
import pytest

pytest.importorskip("rdkit")

from rdkit import Chem
from rdkit.Chem import Crippen, Descriptors, rdMolDescriptors
from scipy import linalg, stats

from discrete_diffusion.eval.metrics.molecule_descriptors import (
    DESCRIPTORS,
    DescriptorReference,
    descriptors,
    frechet_descriptor_distance,
    gaussian_frechet_distance,
)

ALCOHOLS = ["C" * carbons + "O" for carbons in range(1, 21)]
RINGS = ["c1ccccc1" + "C" * carbons + nitrogen for carbons in range(1, 11) for nitrogen in ("", "N")]


def test_descriptors_match_their_names() -> None:
    aspirin = "CC(=O)Oc1ccccc1C(=O)O"
    molecule = Chem.MolFromSmiles(aspirin)
    found = dict(zip(DESCRIPTORS, descriptors([aspirin])[0], strict=True))
    counted = {
        "NumHeavyAtoms": 13,
        "NumHBA": 3,
        "NumHBD": 1,
        "NumRotatableBonds": 2,
        "NumHeteroatoms": 4,
        "FractionCSP3": 1 / 9,
        "NumRings": 1,
        "NumAromaticRings": 1,
        "NumHeterocycles": 0,
    }
    assert {name: found[name] for name in counted} == pytest.approx(counted)
    assert found["amw"] == pytest.approx(180.16, abs=0.01)
    assert found["tpsa"] == pytest.approx(63.6, abs=0.01)
    assert found["CrippenClogP"] == pytest.approx(Crippen.MolLogP(molecule))
    assert found["labuteASA"] == pytest.approx(rdMolDescriptors.CalcLabuteASA(molecule))
    assert found["hallKierAlpha"] == pytest.approx(Descriptors.HallKierAlpha(molecule))
    assert descriptors(["C", "CC", "C"]).shape == (3, 14)
    assert descriptors([]).shape == (0, 14)


def test_frechet_distance_of_gaussians_in_one_dimension() -> None:
    # (μ₁ - μ₂)² + (σ₁ - σ₂)²
    def one(value: float) -> np.ndarray:
        return np.array([[value]])

    assert gaussian_frechet_distance(np.array([1.0]), one(4.0), np.array([4.0]), one(9.0)) == pytest.approx(9 + 1)
    assert gaussian_frechet_distance(np.array([1.0]), one(0.0), np.array([1.0]), one(9.0)) == pytest.approx(9)


def test_frechet_distance_is_the_formula_with_matrix_roots() -> None:
    rng = np.random.default_rng(0)
    a, b = stats.wishart(9, np.eye(5), seed=1).rvs(2, random_state=rng)
    mean, mean2 = rng.normal(size=(2, 5))
    expected = ((mean - mean2) ** 2).sum() + np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    assert gaussian_frechet_distance(mean, a, mean2, b) == pytest.approx(expected)
    # Covariances that commute: the sum over their common directions.
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    first, second = np.array([4.0, 0.0, 1.0, 0.0, 2.0]), np.array([1.0, 0.0, 9.0, 3.0, 2.0])
    ours = gaussian_frechet_distance(mean, (rotation * first) @ rotation.T, mean, (rotation * second) @ rotation.T)
    assert ours == pytest.approx(((np.sqrt(first) - np.sqrt(second)) ** 2).sum())


def test_distance_of_a_set_from_itself_is_zero() -> None:
    reference = DescriptorReference.of(ALCOHOLS)
    assert frechet_descriptor_distance(ALCOHOLS, reference) == pytest.approx(0.0, abs=1e-6)
    # Repeating all changes the unbiased covariance by (n - 1) / n alone.
    assert frechet_descriptor_distance(ALCOHOLS * 2, reference) == pytest.approx(0.0, abs=0.01)
    assert frechet_descriptor_distance(RINGS, reference) > 10


def test_distance_is_in_standard_deviations_of_the_reference() -> None:
    values = descriptors(ALCOHOLS)
    # Alcohols differ in no rings, nor in what they donate: those descriptors are kept as they are.
    scale = np.where(np.ptp(values, 0) > 1e-6, values.std(0, ddof=1), 1.0)
    scaled, other = values / scale, descriptors(RINGS) / scale
    product = np.cov(scaled.T) @ np.cov(other.T)
    roots = np.sqrt(np.maximum(linalg.eigvals(product).real, 0)).sum()
    expected = ((scaled.mean(0) - other.mean(0)) ** 2).sum() + scaled.var(0, ddof=1).sum() + other.var(0, ddof=1).sum()
    found = frechet_descriptor_distance(RINGS, DescriptorReference.of(ALCOHOLS))
    assert found == pytest.approx(expected - 2 * roots, rel=1e-4)


def test_too_few_molecules() -> None:
    reference = DescriptorReference.of(ALCOHOLS)
    assert frechet_descriptor_distance(ALCOHOLS[:14], reference) is None
    assert frechet_descriptor_distance(ALCOHOLS[:15], reference) is not None
    assert frechet_descriptor_distance([], reference) is None
    with pytest.raises(ValueError, match="Expected at least 2 reference molecules, got 1"):
        DescriptorReference.of(["C"])
