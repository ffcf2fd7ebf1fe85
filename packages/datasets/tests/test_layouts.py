import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import Dataset, DatasetDict

from discrete_diffusion.datasets import CategoryLabel, Padded, RandomCrop, Wrapped, character_tokenizer, decode
from discrete_diffusion.datasets import sequence_data as build

WORDS = Dataset.from_dict({"text": ["ab", "c", "abca", "", "bb"] * 20, "kind": ["x", "y", "y", "x", "y"] * 20})


def test_truncated_sequences_keep_both_ends():
    data = build(WORDS, "text", tokenizer=character_tokenizer, length=4, layout=Padded(longer="truncate"))
    bos, eos = data.tokenizer.bos_token_id, data.tokenizer.eos_token_id
    ids = data.train["input_ids"][:]
    assert (ids[:, 0] == bos).all()
    assert (ids == eos).any(1).all()
    assert set(decode(data.tokenizer, ids)) == {"ab", "c", "", "bb"}  # abca has become ab


def test_sequences_without_special_tokens():
    rows = Dataset.from_dict({"text": ["abc", "cba", "bbb", "aaa"] * 5})
    data = build(rows, "text", tokenizer=character_tokenizer, layout=Padded(special_tokens=False))
    assert data.length == 3
    assert set(decode(data.tokenizer, data.train["input_ids"][:])) == {"abc", "cba", "bbb", "aaa"}


def test_wrapped_text_is_all_of_the_text_in_its_order():
    data = build(WORDS, "text", tokenizer=character_tokenizer, length=7, layout=Wrapped(), validation=0.2)
    tokenizer = data.tokenizer
    whole = "".join(f"{text}\n" for text in WORDS["text"][:])  # a line break for each <eos>
    blocks = [whole[i : i + 5] for i in range(0, len(whole) - 4, 5)]
    found = torch.cat([data.train["input_ids"][:], data.validation["input_ids"][:]])
    assert (found[:, 0] == tokenizer.bos_token_id).all()
    assert (found[:, -1] == tokenizer.eos_token_id).all()
    names = {tokenizer.eos_token_id: "\n"}
    read = ["".join(names.get(i) or tokenizer.convert_ids_to_tokens(i) for i in row[1:-1].tolist()) for row in found]
    assert sorted(read) == sorted(blocks)
    assert data.train.with_format(None)["text"][0] == read[0].replace("\n", "")


def test_wrapped_text_has_no_labels():
    with pytest.raises(ValueError, match="more than one row each"):
        build(WORDS, "text", tokenizer=character_tokenizer, length=7, layout=Wrapped(), label=CategoryLabel("kind"))
    with pytest.raises(ValueError, match="Expected a `length` >= 3 to cut blocks of, got None"):
        build(WORDS, "text", tokenizer=character_tokenizer, layout=Wrapped())


def test_a_split_of_the_data_s_own_is_kept():
    parts = DatasetDict(train=WORDS.select(range(60)), validation=WORDS.select(range(60, 100)))
    data = build(parts, "text", tokenizer=character_tokenizer, label=CategoryLabel("kind"))
    assert (len(data.train), len(data.validation)) == (60, 40)
    assert data.train.with_format(None)["text"][:] == WORDS["text"][:60]
    assert data.validation["label"][:].tolist() == [0 if one == "x" else 1 for one in WORDS["kind"][60:]]
    uneven = DatasetDict(train=WORDS.select([0, 1]), validation=WORDS.select([2, 3]))
    with pytest.raises(ValueError, match="to train on has 4 tokens, the longest to validate on 6"):
        build(uneven, "text", tokenizer=character_tokenizer)
    assert build(uneven, "text", tokenizer=character_tokenizer, length=8).train["input_ids"][:].shape == (2, 8)


def test_token_ids_are_taken_as_they_are():
    tokenizer = character_tokenizer(["ab"])
    rows = Dataset(pa.table({"levels": pa.array([[5, 6], [6, 5], [6, 6]] * 4, pa.list_(pa.uint8()))}))
    data = build(rows, "levels", tokenizer=tokenizer, layout=Padded(special_tokens=False))
    assert data.length == 2
    assert data.train["input_ids"][:].dtype == torch.int64
    assert data.train["input_ids"][:].tolist() == data.train.with_format(None)["levels"][:]
    with pytest.raises(ValueError, match="Expected token ids from 0 to 6, which the tokenizer knows, got 1 to 7"):
        build(Dataset.from_dict({"levels": [[1, 7]] * 4}), "levels", tokenizer=tokenizer)


def test_what_the_tokenizer_does_not_know_may_be_allowed():
    tokenizer = character_tokenizer(["ab"])
    data = build(WORDS, "text", tokenizer=tokenizer, allow_unknown=True)
    assert (data.train["input_ids"][:] == tokenizer.unk_token_id).any()


def test_every_window_of_a_text_is_equally_likely():
    text = torch.arange(12)
    rows = torch.stack([text[start : start + 5] for start in (0, 3, 6)])  # 2 * 3 - 1 tokens, cut every 3
    crop = RandomCrop(character_tokenizer(["a"]))
    generator = torch.Generator().manual_seed(0)
    assert crop.reads(3) == 5
    windows = crop(rows.repeat(3000, 1), generator)
    assert windows.shape == (9000, 3)
    assert (windows.diff(dim=1) == 1).all()
    counts = np.bincount(windows[:, 0].numpy(), minlength=9)
    assert ((counts - 1000) ** 2 / 1000).sum() < 21  # chi-square, 8 degrees of freedom, p = 0.007


def test_crops_need_longer_rows_to_train_on_alone():
    long, short = Dataset.from_dict({"text": ["abcab"] * 3}), Dataset.from_dict({"text": ["abc"] * 3})
    options = {"tokenizer": character_tokenizer, "layout": Padded(special_tokens=False), "augment": RandomCrop}
    data = build(DatasetDict(train=long, validation=short), "text", length=3, **options)
    assert (data.train[0]["input_ids"].shape, data.validation[0]["input_ids"].shape) == ((5,), (3,))
    assert data.length == 3
    with pytest.raises(ValueError, match="data with a split of their own"):
        build(long, "text", length=3, **options)


def test_a_layout_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="Expected `longer` to be refuse, drop or truncate, got 'cut'"):
        Padded(longer="cut")
