import pytest

pytest.importorskip("rdkit")

from rdkit import Chem

from discrete_diffusion.eval.metrics import molecules
from discrete_diffusion.eval.metrics.molecules import sa_score


@pytest.mark.parametrize(
    ("smiles", "published"),
    # The column SAS of the first rows of 250k_rndm_zinc_drugs_clean_3.csv.
    [
        ("CC(C)(C)c1ccc2occ(CC(=O)Nc3ccccc3F)c2c1", 2.0840945),
        ("C[CH]1CC(Nc2cncc(-c3nncn3C)c2)C[CH](C)C1", 3.4320038),
        ("N#Cc1ccc(-c2ccc(O[CH](C(=O)N3CCCC3)c3ccccc3)cc2)cc1", 2.4706331),
    ],
)
def test_scores_are_those_published_with_zinc250k(smiles: str, published: float) -> None:
    assert sa_score(smiles) == pytest.approx(published, abs=1e-5)
    assert sa_score(Chem.MolFromSmiles(smiles)) == sa_score(smiles)


def test_aspirin_is_easier_to_make_than_taxol() -> None:
    taxol = (
        "CC1=C2C(C(=O)C3(C(CC4C(C3C(C(C2(C)C)(CC1OC(=O)C(C(c5ccccc5)NC(=O)c6ccccc6)O)O)"
        "OC(=O)c7ccccc7)(CO4)OC(=O)C)O)C)OC(=O)C"
    )
    assert 1 <= sa_score("CC(=O)Oc1ccccc1C(=O)O") < 2 < 5 < sa_score(taxol) <= 10
    with pytest.raises(ValueError, match="valid SMILES"):
        sa_score("C1CC")


def test_missing_contribution_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    molecules._scorer.cache_clear()
    monkeypatch.setattr(molecules.RDConfig, "RDContribDir", str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="needs the contribution SA_Score of RDKit"):
        sa_score("C")
