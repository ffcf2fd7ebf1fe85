import sys

import numpy as np
import pytest

pytest.importorskip("rdkit")
pytest.importorskip("fcd_torch")

from fcd_torch import FCD

from discrete_diffusion.eval import (
    ChemNetReference,
    MosesReference,
    frechet_chemnet_distance,
    moses_metrics,
)
from discrete_diffusion.eval.metrics import chemnet

SAMPLES = ["CCO", "c1ccccc1-c1ccccc1", "CC(=O)NC1CC1", "CCO", "Cc1ccc(Br)cc1", "CCN", "C[Si](C)(C)Cl"]
TEST = ["CCC", "OCC", "c1ccc2ccccc2c1", "CCOc1ccccc1", "N#CC1CC1"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_distance_is_that_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "row_stack", np.vstack, raising=False)  # later releases of numpy have no such name
    package = FCD()
    known, own = package.precalc(SAMPLES), ChemNetReference.of(SAMPLES)
    np.testing.assert_allclose(own.mean, known["mu"], atol=1e-6)
    np.testing.assert_allclose(own.covariance, known["sigma"], atol=1e-6)
    expected = package(TEST, SAMPLES)
    assert expected > 1.0
    assert frechet_chemnet_distance(SAMPLES, TEST) == pytest.approx(expected, abs=1e-4)
    assert frechet_chemnet_distance(TEST, ChemNetReference.of(SAMPLES)) == pytest.approx(expected, abs=1e-4)


def test_repeats_count_and_their_spelling_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = ChemNetReference.of(["CCO", "OCC", "CCC"]), ChemNetReference.of(["CCO", "CCC", "CCO"])
    np.testing.assert_allclose(one.mean, other.mean, atol=1e-7)
    np.testing.assert_allclose(one.covariance, other.covariance, atol=1e-9)
    assert np.abs(one.mean - ChemNetReference.of(["CCO", "CCC"]).mean).max() > 1e-4
    monkeypatch.setattr(chemnet, "_BATCH", 2)
    np.testing.assert_allclose(ChemNetReference.of(["CCO", "OCC", "CCC"]).covariance, one.covariance, atol=1e-7)


def test_equal_sets_have_distance_zero() -> None:
    assert frechet_chemnet_distance(TEST, TEST[::-1]) == pytest.approx(0.0, abs=1e-6)


def test_two_valid_molecules_are_needed() -> None:
    with pytest.raises(ValueError, match="at least 2 molecules, got 1"):
        frechet_chemnet_distance(["CCO"], TEST)
    with pytest.raises(ValueError, match="valid SMILES"):
        frechet_chemnet_distance(["CCO", "C1CC"], TEST)


def test_moses_metrics_include_the_distances_on_request() -> None:
    numbers = moses_metrics([*SAMPLES, "C1CC"], TEST, TEST[:3], fcd=True)
    assert numbers["FCD/Test"] == pytest.approx(frechet_chemnet_distance(SAMPLES, TEST), abs=1e-9)
    assert numbers["FCD/TestSF"] == pytest.approx(frechet_chemnet_distance(SAMPLES, TEST[:3]), abs=1e-9)
    assert not [name for name in moses_metrics(SAMPLES, TEST) if name.startswith("FCD")]
    assert moses_metrics(["CCO", "bad"], TEST, fcd=True)["FCD/Test"] is None
    reference = MosesReference.of(TEST)
    assert reference.chemnet is reference.chemnet


@pytest.mark.parametrize("module", ["fcd_torch.utils", "torch"])
def test_a_missing_package_names_the_extra(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "discrete_diffusion.eval.metrics.chemnet")
    monkeypatch.setitem(sys.modules, module, None)
    package = module.partition(".")[0]
    with pytest.raises(ModuleNotFoundError, match=rf"needs {package}: install `discrete-diffusion-eval\[fcd\]`\."):
        moses_metrics(["CCO", "CCC"], ["CCO", "CCC"], fcd=True)
