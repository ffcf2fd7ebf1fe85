import importlib
import os
import subprocess
import sys

import pytest

pytest.importorskip("rdkit")

from rdkit import Chem
from rdkit.Chem import QED, Descriptors, rdMolDescriptors

from discrete_diffusion.datasets import molecules

# The package shows the function under the name of the module.
MODULE = importlib.import_module("discrete_diffusion.datasets.molecules")


def rows_of(dataset):
    return dataset.with_format(None)[:]


def test_every_molecule_is_what_the_docstring_says(small):
    smiles = rows_of(small)["canonical_smiles"]
    assert len(set(smiles)) == len(smiles) == 300
    for one in smiles:
        molecule = Chem.MolFromSmiles(one)
        assert Chem.MolToSmiles(molecule) == one
        assert 6 <= molecule.GetNumHeavyAtoms() <= 9
        assert {atom.GetSymbol() for atom in molecule.GetAtoms()} <= set("CNOF")
        assert Descriptors.NumRadicalElectrons(molecule) == 0
        assert not set(one) & set("./\\@")
        assert not molecule.HasSubstructMatch(Chem.MolFromSmarts("OO"))
        assert rdMolDescriptors.CalcMolFormula(molecule)[-2:] not in ("+2", "-1", "-2")
        assert all(atom.GetIsotope() == 0 for atom in molecule.GetAtoms())


def test_properties_are_rdkits(small):
    rows = rows_of(small)
    for one, qed, ring_count in zip(rows["canonical_smiles"], rows["qed"], rows["ring_count"], strict=True):
        molecule = Chem.MolFromSmiles(one)
        assert qed == pytest.approx(QED.qed(molecule))
        assert ring_count == rdMolDescriptors.CalcNumRings(molecule)


def test_their_distribution_is_what_the_readme_says(small):
    rows = rows_of(small)
    molecules_ = [Chem.MolFromSmiles(one) for one in rows["canonical_smiles"]]
    assert 8.0 < sum(m.GetNumHeavyAtoms() for m in molecules_) / 300 < 8.6
    assert 0.3 < sum(count == 0 for count in rows["ring_count"]) / 300 < 0.6
    assert max(rows["ring_count"]) == 2
    assert 0.46 < sum(rows["qed"]) / 300 < 0.52
    assert 0.03 < sum(any(a.GetIsAromatic() for a in m.GetAtoms()) for m in molecules_) / 300 < 0.2
    assert 0.005 < sum("+]" in one for one in rows["canonical_smiles"]) / 300 < 0.08


def test_seed_and_size(small, tmp_path):
    smiles = rows_of(small)["canonical_smiles"]
    assert rows_of(molecules(40, cache_dir=tmp_path, progress=False))["canonical_smiles"] == smiles[:40]
    other = rows_of(molecules(40, seed=1, cache_dir=tmp_path, progress=False))["canonical_smiles"]
    assert other != smiles[:40]


def test_another_process_makes_the_same_with_another_hash_seed(small, tmp_path):
    script = (
        "from discrete_diffusion.datasets import molecules\n"
        f"print(*molecules(30, cache_dir={str(tmp_path)!r})['canonical_smiles'][:])"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert out.stdout.split() == rows_of(small)["canonical_smiles"][:30]


def test_the_cache_is_read_and_a_broken_one_replaced(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("DISCRETE_DIFFUSION_CACHE", str(tmp_path))
    generate = MODULE._generate
    made = rows_of(molecules(20, progress=False))
    (path,) = tmp_path.iterdir()
    monkeypatch.setattr(MODULE, "_generate", None)
    assert rows_of(molecules(20, progress=False)) == made
    monkeypatch.setattr(MODULE, "_generate", generate)
    path.write_bytes(path.read_bytes()[:100])
    assert rows_of(molecules(20, progress=False)) == made
    assert "cannot be read" in caplog.text
    (again,) = tmp_path.iterdir()
    monkeypatch.setattr(MODULE, "_generate", None)
    assert again == path
    assert rows_of(molecules(20, progress=False)) == made


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    assert len(molecules(5, cache_dir=tmp_path / "file" / "folder", progress=False)) == 5
    assert "is not kept" in caplog.text


def test_an_impossible_size_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="Expected 1 <= `size` <= 10,000,000, got 0"):
        molecules(0, cache_dir=tmp_path)
    with pytest.raises(ValueError, match="Expected 1 <= `size` <= 10,000,000, got 1000000000"):
        molecules(10**9, cache_dir=tmp_path)
    methane = Chem.MolFromSmiles("C")
    monkeypatch.setattr("discrete_diffusion.datasets.molecule_generator.grow", lambda rng: methane)
    with pytest.raises(ValueError, match="after 1 molecules no new one"):
        molecules(2, cache_dir=tmp_path, progress=False)
