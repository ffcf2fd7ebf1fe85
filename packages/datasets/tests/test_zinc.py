import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest

from discrete_diffusion.datasets.zinc250k import zinc250k

chem = pytest.importorskip("rdkit.Chem")

# The first rows of the usual file, one respelled; each SMILES ends with a line break inside the quotes.
USUAL = """smiles,logP,qed,SAS
"CC(C)(C)c1ccc2occ(CC(=O)Nc3ccccc3F)c2c1
",5.0506,0.702012,2.084095
"C1C[CH](C)CC(Nc2cncc(-c3nncn3C)c2)C1
",3.1137,0.928975,3.432004
"""


def test_the_usual_file(tmp_path):
    path = tmp_path / "250k_rndm_zinc_drugs_clean_3.csv"
    path.write_text(USUAL)
    rows = zinc250k(path)
    assert rows.column_names == ["canonical_smiles", "qed", "ring_count", "logp", "SAS"]
    assert rows["canonical_smiles"][0] == "CC(C)(C)c1ccc2occ(CC(=O)Nc3ccccc3F)c2c1"
    assert rows["canonical_smiles"][1] == chem.CanonSmiles("C[CH]1CCCC(Nc2cncc(-c3nncn3C)c2)C1")
    assert (rows["qed"][:], rows["logp"][:], rows["SAS"][:]) == (
        [0.702012, 0.928975],
        [5.0506, 3.1137],
        [2.084095, 3.432004],
    )
    assert rows["ring_count"][:] == [3, 3]


def test_what_is_missing_is_computed_and_what_is_there_is_kept(tmp_path):
    qed = pytest.importorskip("rdkit.Chem.QED").qed
    pa.parquet.write_table(pa.table({"SMILES": ["OCC", "C1CC2CC12"], "name": ["a", "b"]}), tmp_path / "bare.parquet")
    rows = zinc250k(tmp_path / "bare.parquet")
    assert rows["canonical_smiles"][:] == ["CCO", "C1CC2CC12"]
    assert rows["qed"][:] == pytest.approx([qed(chem.MolFromSmiles(one)) for one in ("CCO", "C1CC2CC12")])
    assert (rows["ring_count"][:], rows["name"][:]) == ([0, 2], ["a", "b"])
    given = {"canonical_smiles": ["OCC"], "qed": [0.5], "ring_count": [7]}
    pa.parquet.write_table(pa.table(given), tmp_path / "whole.parquet")
    assert zinc250k(tmp_path / "whole.parquet").to_dict() == given


def test_errors_name_the_problem(tmp_path):
    for content, message in {
        "name\na\n": "Expected a column 'canonical_smiles' or 'smiles' in .*; its columns are 'name'",
        "smiles,x\nC1CC,1\n": r"Expected valid SMILES in .*zinc\.csv, got 'C1CC'",
        "smiles,x\n,1\n": r"Expected valid SMILES in .*zinc\.csv, got ''",
    }.items():
        (tmp_path / "zinc.csv").write_text(content)
        with pytest.raises(ValueError, match=message):
            zinc250k(tmp_path / "zinc.csv")
    pa.parquet.write_table(pa.table({"smiles": ["C", None]}), tmp_path / "gap.parquet")
    assert zinc250k(tmp_path / "gap.parquet")["drop_reason"][:] == [None, "no string in the column 'smiles'"]
    pa.parquet.write_table(pa.table({"smiles": ["C", "C1CC", "C1", "N"]}), tmp_path / "broken.parquet")
    reason = "not valid SMILES ('C1CC')"
    assert zinc250k(tmp_path / "broken.parquet")["drop_reason"][:] == [None, reason, reason, None]
    with pytest.raises(FileNotFoundError, match="does not exist"):
        zinc250k(tmp_path / "none.csv")


def test_the_hub_s_own_split_is_kept(monkeypatch):
    part = datasets.Dataset.from_dict({"smiles": ["OCC"], "logP": [0.1], "qed": [0.3]})
    there = datasets.DatasetDict({"train": part, "validation": part})
    requests = []

    def load(name, **_):
        requests.append(name)
        return there

    monkeypatch.setattr(datasets, "load_dataset", load)
    found = zinc250k()
    assert list(found) == ["train", "validation"]
    assert found["validation"][0] == {"canonical_smiles": "CCO", "qed": 0.3, "ring_count": 0, "logp": 0.1}
    there = datasets.DatasetDict({"train": part})
    assert zinc250k(name="somebody/zinc")["canonical_smiles"][:] == ["CCO"]
    assert requests == ["yairschiff/zinc250k", "somebody/zinc"]

    def offline(name, **_):
        raise OSError("no route\nto the hub")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(
        ConnectionError, match=r"^`yairschiff/zinc250k` cannot .*\(no route\): pass [^\n]* as `path`\.$"
    ):
        zinc250k()
