import numpy as np
import pytest
import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from discrete_diffusion.datasets import (
    CategoryLabel,
    Padded,
    PercentileLabel,
    character_tokenizer,
    decode,
    letter_tokenizer,
    sequence_data,
    smiles_tokenizer,
)

LETTERS = Dataset.from_dict({"text": ["a", "bb", "abc", "ba"] * 10, "label": ["x", "y", "x", "y"] * 10})


def test_sequences_are_padded_labelled_and_split(small):
    data = sequence_data(small, "canonical_smiles", tokenizer=smiles_tokenizer, label=PercentileLabel())
    assert (len(data.train), len(data.validation)) == (285, 15)
    assert {len(data.tokenizer("C" * 20)["input_ids"])} == {22}
    pad = data.tokenizer.pad_token_id
    strings = []
    for split in (data.train, data.validation):
        source = split.with_format(None)[:]
        assert decode(data.tokenizer, split[:]["input_ids"]) == source["canonical_smiles"]
        strings += source["canonical_smiles"]
        for i in range(len(split)):
            item = split[i]
            assert set(item) == {"input_ids", "label"}
            assert item["input_ids"].dtype == item["label"].dtype == torch.int64
            assert item["input_ids"].shape == (data.length,)
            used = data.tokenizer(source["canonical_smiles"][i])["input_ids"]
            assert item["input_ids"].tolist() == used + [pad] * (data.length - len(used))
            assert item["label"] == (source["qed"][i] > np.percentile(small["qed"][:], 90))
    assert sorted(strings) == sorted(small["canonical_smiles"][:])
    assert data.length == 2 + max(len(data.tokenizer.tokenize(one)) for one in strings)


def test_the_split_is_that_of_the_paper(small):
    data = sequence_data(small, "canonical_smiles", tokenizer=smiles_tokenizer)
    paper = small.train_test_split(test_size=0.05, seed=42)
    assert data.validation.with_format(None)["canonical_smiles"][:] == paper["test"]["canonical_smiles"][:]
    other = sequence_data(small, "canonical_smiles", tokenizer=smiles_tokenizer, seed=1, validation=0.1)
    assert len(other.validation) == 30


def test_batches():
    data = sequence_data(LETTERS, "text", tokenizer=character_tokenizer, label=CategoryLabel("label"))
    batch = next(iter(DataLoader(data.train, batch_size=4)))
    assert set(batch) == {"input_ids", "label"}
    assert batch["input_ids"].shape == (4, 5)
    source = data.train.with_format(None)[:4]
    assert [data.label.class_names[i] for i in batch["label"]] == source["label_value"]


def test_sequences_may_stand_in_a_column_named_label():
    data = sequence_data(LETTERS, "label", tokenizer=character_tokenizer, label=CategoryLabel("text"))
    assert data.column == "label_value"
    assert set(data.train.with_format(None)[data.column][:]) == {"x", "y"}


def test_without_a_label():
    data = sequence_data(LETTERS, "text", tokenizer=character_tokenizer)
    assert data.label is None
    assert set(data.train[0]) == {"input_ids"}
    assert data.train.with_format(None)["label"][:2] == [
        {"a": "x", "bb": "y", "abc": "x", "ba": "y"}[t] for t in data.train.with_format(None)["text"][:2]
    ]


def test_a_fitted_label_and_a_selection_of_rows():
    rows = Dataset.from_dict({"text": ["a", "b", "c", "d"], "x": [1.0, 2.0, 3.0, 4.0]}).select([3, 2, 0, 1])
    fitted = PercentileLabel("x", 75, ">=").fit(Dataset.from_dict({"x": [0.0, 2.0, 2.0, 2.0]}))
    data = sequence_data(rows, "text", tokenizer=character_tokenizer, label=fitted, validation=0.25)
    assert data.label == fitted
    found = {}
    for split in (data.train, data.validation):
        found |= dict(zip(split.with_format(None)["text"][:], split[:]["label"].tolist(), strict=True))
    assert found == {"a": 0, "b": 1, "c": 1, "d": 1}


def test_sequences_that_do_not_fit():
    with pytest.raises(ValueError, match="fit `length` 4, but 10 of 40 do not: `length=5` fits all, `longer=drop`"):
        sequence_data(LETTERS, "text", tokenizer=character_tokenizer, length=4)
    data = sequence_data(
        LETTERS,
        "text",
        tokenizer=character_tokenizer,
        length=4,
        layout=Padded(longer="drop"),
        label=CategoryLabel("label"),
        max_dropped=0.25,
    )
    assert len(data.train) + len(data.validation) == 30
    assert set(decode(data.tokenizer, data.train[:]["input_ids"])) == {"a", "bb", "ba"}
    assert sequence_data(LETTERS, "text", tokenizer=character_tokenizer, length=9).train[0]["input_ids"].shape == (9,)
    with pytest.raises(ValueError, match="Expected sequences that fit `length` 1"):
        sequence_data(LETTERS, "text", tokenizer=character_tokenizer, length=1, layout=Padded(longer="drop"))


def test_unknown_symbols_are_named():
    tokenizer = smiles_tokenizer(["CO"])
    rows = Dataset.from_dict({"smiles": ["CO", "CN", "C[NH3+]", "N"]})
    with pytest.raises(ValueError, match=r"3 of 4 .*does not know \('N', '\[NH3\+\]'\) \(rows 2, 3, 4\)\."):
        sequence_data(rows, "smiles", tokenizer=tokenizer)


def test_unknown_symbols_are_named_where_no_token_stands_for_them():
    with pytest.raises(ValueError, match=r"1 of 2 .*does not know \('!', 'É'\) \(row 2\)\."):
        sequence_data(Dataset.from_dict({"text": ["abc", "É!"]}), "text", tokenizer=letter_tokenizer())


def test_errors():
    with pytest.raises(ValueError, match="Expected a column 'smiles'; its columns are 'text', 'label'"):
        sequence_data(LETTERS, "smiles", tokenizer=character_tokenizer)
    with pytest.raises(ValueError, match="not encoded yet, got a column 'input_ids'"):
        sequence_data(LETTERS.rename_column("label", "input_ids"), "text", tokenizer=character_tokenizer)
    with pytest.raises(ValueError, match="Expected 0 < `validation` < 1, got 1"):
        sequence_data(LETTERS, "text", tokenizer=character_tokenizer, validation=1)
    with pytest.raises(ValueError, match="Expected strings, or lists of token ids, in the column 'x'"):
        sequence_data(Dataset.from_dict({"x": [1, 2]}), "x", tokenizer=character_tokenizer)
    with pytest.raises(ValueError, match="Expected at least 2 sequences to split, got 1"):
        sequence_data(LETTERS.select([0]), "text", tokenizer=character_tokenizer)


def test_decoding_repairs_nothing():
    tokenizer = character_tokenizer(["CO"])
    bos, eos, mask, pad, _, c, o = range(7)
    ids = torch.tensor(
        [
            [bos, c, o, eos, pad, pad],
            [bos, c, pad, o, eos, pad],
            [bos, c, bos, o, eos, pad],
            [bos, c, mask, o, eos, pad],
            [bos, c, o, eos, c, bos],
            [bos, c, o, pad, pad, pad],
            [bos, c, o, c, o, c],
            [c, o, eos, pad, pad, pad],
            [eos, c, o, eos, pad, pad],
            [bos, eos, pad, pad, pad, pad],
        ]
    )
    assert decode(tokenizer, ids) == [
        "CO", "C<pad>O", "C<bos>O", "C<mask>O", "CO", "CO<pad><pad><pad>", "COCOC", "CO", "", "",
    ]  # fmt: skip
