import json

import pytest
from transformers import AutoTokenizer

from discrete_diffusion.datasets import character_tokenizer, smiles_tokenizer, smiles_tokenizer_from_vocab
from discrete_diffusion.datasets.smiles_tokenizer import smiles_symbols

SPECIAL = {"<bos>": 0, "<eos>": 1, "<mask>": 2, "<pad>": 3, "<unk>": 4}


def test_smiles_are_cut_by_atom():
    assert smiles_symbols("Clc1cc[nH]c1") == ["Cl", "c", "1", "c", "c", "[nH]", "c", "1"]
    assert smiles_symbols("BrC%12CC%12") == ["Br", "C", "%12", "C", "C", "%12"]
    assert smiles_symbols("C[CH](N)C(=O)[O-]") == ["C", "[CH]", "(", "N", ")", "C", "(", "=", "O", ")", "[O-]"]
    assert smiles_symbols("F/C=C\\F.O") == ["F", "/", "C", "=", "C", "\\", "F", ".", "O"]
    with pytest.raises(ValueError, match="Expected SMILES, got 'C C'"):
        smiles_symbols("C C")


def test_ids_are_the_special_tokens_and_then_the_sorted_symbols():
    tokenizer = smiles_tokenizer(["CCl", "[NH3+]C"])
    assert tokenizer.get_vocab() == SPECIAL | {"C": 5, "Cl": 6, "[NH3+]": 7}
    assert smiles_tokenizer(["[NH3+]C", "CCl"]).get_vocab() == tokenizer.get_vocab()
    assert tokenizer("[NH3+]CCl")["input_ids"] == [0, 7, 5, 6, 1]
    assert tokenizer("CBr")["input_ids"] == [0, 5, 4, 1]


def test_decoding_gives_the_string_back(small):
    smiles = small["canonical_smiles"][:]
    tokenizer = smiles_tokenizer(smiles)
    ids = tokenizer(smiles)["input_ids"]
    assert [tokenizer.decode(row, skip_special_tokens=True) for row in ids] == smiles
    assert all(row[0] == 0 and row[-1] == 1 and 4 not in row for row in ids)
    assert [tokenizer.convert_ids_to_tokens(row)[1:-1] for row in ids] == [smiles_symbols(one) for one in smiles]


def test_saving_and_loading_changes_no_id(tmp_path):
    strings = ["CC(=O)[O-]", "c1c[nH]cc1", "C#N"]
    for name, tokenizer in {"smiles": smiles_tokenizer(strings), "text": character_tokenizer(strings)}.items():
        for turn in range(3):
            tokenizer.save_pretrained(tmp_path / f"{name}{turn}")
            loaded = AutoTokenizer.from_pretrained(tmp_path / f"{name}{turn}")
            assert loaded.get_vocab() == tokenizer.get_vocab()
            assert len(loaded) == len(tokenizer)
            assert loaded(strings)["input_ids"] == tokenizer(strings)["input_ids"]
            assert loaded.decode(loaded(strings[0])["input_ids"], skip_special_tokens=True) == strings[0]
            assert (loaded.bos_token_id, loaded.eos_token_id, loaded.mask_token_id) == (0, 1, 2)
            assert (loaded.pad_token_id, loaded.unk_token_id) == (3, 4)
            tokenizer = loaded


def test_a_published_vocabulary(tmp_path):
    path = tmp_path / "vocab.json"
    symbols = ["C", "N", "[nH]", "c", "1"]
    path.write_text(json.dumps({symbol: i for i, symbol in enumerate(symbols)}))
    tokenizer = smiles_tokenizer_from_vocab(path)
    expected = SPECIAL | {symbol: i + 5 for i, symbol in enumerate(symbols)}
    assert tokenizer.get_vocab() == expected
    path.write_text(json.dumps(expected))
    assert smiles_tokenizer_from_vocab(path).get_vocab() == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "map symbols to integer ids"),
        ("{", "to hold JSON"),
        ('{"C": 0, "N": 2}', "ids 0 to 6 once each"),
        ('{"C": 1, "<bos>": 0}', "<eos>, <mask>, <pad>, <unk> are missing"),
    ],
)
def test_a_wrong_vocabulary(tmp_path, content, message):
    path = tmp_path / "vocab.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        smiles_tokenizer_from_vocab(path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        smiles_tokenizer_from_vocab(tmp_path / "none.json")


def test_characters_of_any_text():
    strings = ["to be, or not", "  two  spaces\n", "é日本😀", ""]
    tokenizer = character_tokenizer(strings)
    assert [tokenizer.decode(tokenizer(s)["input_ids"], skip_special_tokens=True) for s in strings] == strings
    assert [len(tokenizer(s)["input_ids"]) for s in strings] == [len(s) + 2 for s in strings]
    with pytest.raises(ValueError, match="Expected strings without <bos>"):
        character_tokenizer(["a <pad> b"])
