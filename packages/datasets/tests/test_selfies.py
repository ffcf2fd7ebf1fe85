from random import Random

import datasets
import pytest
from transformers import AutoTokenizer

from discrete_diffusion.datasets import decode, sequence_data
from discrete_diffusion.datasets.selfies_rows import selfies_rows, selfies_to_smiles
from discrete_diffusion.datasets.selfies_tokenizer import selfies_symbols, selfies_tokenizer

chem = pytest.importorskip("rdkit.Chem")
pytest.importorskip("selfies")


def test_symbols_are_what_stands_in_brackets():
    assert selfies_symbols("[C][=C][Ring1][=Branch1].[O-1]") == ["[C]", "[=C]", "[Ring1]", "[=Branch1]", ".", "[O-1]"]
    for broken in ("CCO", "[C]<pad>[O]", "[C] [O]", "[C", "[]", "x[C]"):
        with pytest.raises(ValueError, match="Expected SELFIES, got"):
            selfies_symbols(broken)


def test_the_tokenizer_gives_its_strings_back(tmp_path):
    strings = ["[N][C].[=O]", "[C][=O]"]
    tokenizer = selfies_tokenizer(strings)
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer)))[-4:] == [".", "[=O]", "[C]", "[N]"]
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for string in strings:
        ids = loaded(string)["input_ids"]
        assert ids == tokenizer(string)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == string


@pytest.mark.parametrize(
    ("string", "smiles"),
    [
        ("[C][C][O]", "CCO"),
        ("[C][=C][C][=C][C][=C][Ring1][=Branch1]", "C1=CC=CC=C1"),
        ("[F][=C][=C][#N]", "FC=C=N"),  # fluorine has one bond, and two carbons leave nitrogen two
        ("[C][nop][O]", "CO"),
        ("[Ring1]", None),  # a ring of nothing
        ("", None),
        ("[C]<pad>[O]", None),
        ("<bos>[C]", None),
        ("CCO", None),
        ("[C][Foo]", None),
    ],
)
def test_what_a_string_means(string, smiles):
    assert selfies_to_smiles(string) == smiles


def test_molecules_survive_and_their_columns_stay(small):
    rows = selfies_rows(lambda: small)
    assert rows.column_names == [*small.column_names, "selfies"]
    assert rows["qed"][:] == small["qed"][:]
    assert [chem.CanonSmiles(selfies_to_smiles(one)) for one in rows["selfies"][:]] == small["canonical_smiles"][:]
    data = sequence_data(rows, "selfies", tokenizer=selfies_tokenizer)
    assert decode(data.tokenizer, data.train["input_ids"][:]) == data.train.with_format(None)["selfies"][:]


def test_any_symbols_in_any_order_are_a_molecule(small):
    rows = selfies_rows(lambda: small)
    symbols = sorted({symbol for one in rows["selfies"][:] for symbol in selfies_symbols(one)})
    rng = Random(0)
    atoms = [symbol for symbol in symbols if "Ring" not in symbol and "Branch" not in symbol]
    for _ in range(200):
        string = rng.choice(atoms) + "".join(rng.choices(symbols, k=12))
        assert chem.MolFromSmiles(selfies_to_smiles(string)) is not None


def test_rows_that_cannot_be_written_are_dropped_and_counted():
    smiles = ["CCO", "CN(=O)=O", None, "CCN", "CCC"]
    rows = datasets.Dataset.from_dict({"smiles": smiles, "selfies": [""] * 5, "x": [1, 2, 3, 4, 5]})
    written = selfies_rows(lambda: rows, column="smiles")
    assert written["selfies"][:] == ["[C][C][O]", None, None, "[C][C][N]", "[C][C][C]"]
    data = sequence_data(written, "selfies", tokenizer=selfies_tokenizer, max_dropped=0.5)
    assert data.report.dropped == 2
    assert "2 of 5 rows (40%) dropped: cannot be written as SELFIES ('CN(=O)=O') (rows 2, 3)" in data.report.describe()
    with pytest.raises(ValueError, match="Expected molecules that SELFIES can write in 'smiles', got none"):
        selfies_rows(lambda: rows.select([1, 2]), column="smiles")
    with pytest.raises(ValueError, match=r"Expected a column 'canonical_smiles' in the source"):
        selfies_rows(lambda: rows)


def test_a_split_is_kept_and_a_path_is_handed_on(small, tmp_path):
    def source(path):
        assert path == tmp_path
        return datasets.DatasetDict({"train": small.select([0, 1]), "validation": small.select([2])})

    rows = selfies_rows(source, tmp_path)
    assert {split: len(part["selfies"]) for split, part in rows.items()} == {"train": 2, "validation": 1}
    with pytest.raises(ValueError, match="Expected no `path`: this source reads no file"):
        selfies_rows(lambda: small, tmp_path)
