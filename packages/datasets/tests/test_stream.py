from itertools import islice

import pytest
import torch
from datasets import Dataset

from discrete_diffusion.datasets import CategoryLabel, Padded, Wrapped, character_tokenizer, decode, sequence_data

DOCUMENTS = Dataset.from_dict({"text": [f"{n:03d}" for n in range(300)]}).to_iterable_dataset()
OPTIONS = {"tokenizer": character_tokenizer, "length": 10, "layout": Wrapped(), "validation": 100}


def tokens(sequences, count):
    return torch.stack([one["input_ids"] for one in islice(sequences, count)])


def test_a_stream_is_packed_without_end_and_without_what_is_held_out():
    data = sequence_data(DOCUMENTS, "text", **OPTIONS)
    assert len(data.validation) == 100 * 4 // 8  # three digits and <eos>, in blocks of 8
    assert decode(data.tokenizer, data.validation["input_ids"][:1]) == ["000"]
    assert data.validation.with_format(None)["text"][0] == "000001"
    blocks = tokens(data.train, 250)  # a pass has 100 blocks
    assert blocks.shape == (250, 10)
    first, second = (
        sorted(text for row in part for text in data.tokenizer.decode(row[1:-1]).split("<eos>") if text)
        for part in (blocks[:100], blocks[100:200])
    )
    assert first == second == [f"{n:03d}" for n in range(100, 300)]
    assert not torch.equal(blocks[:100], blocks[100:200])  # each pass shuffles anew
    assert torch.equal(blocks, tokens(data.train, 250))


def test_the_first_of_a_stream_may_be_looked_at():
    data = sequence_data(DOCUMENTS, "text", **OPTIONS)
    head = data.examples(3)
    assert len(head) == 3
    assert head.with_format(None)["text"][0] == "100101"
    letters = sequence_data(Dataset.from_dict({"text": list("abcdefghij")}), "text", tokenizer=character_tokenizer)
    assert letters.examples(3).with_format(None)["text"][:] == letters.train.with_format(None)["text"][::3]


def test_a_stream_of_sentences():
    data = sequence_data(DOCUMENTS, "text", **{**OPTIONS, "layout": Padded(longer="truncate"), "length": 4})
    assert decode(data.tokenizer, data.validation["input_ids"][:2]) == ["00", "00"]


def test_what_a_stream_cannot_have():
    with pytest.raises(ValueError, match="a stream has none"):
        sequence_data(DOCUMENTS, "text", label=CategoryLabel("text"), **OPTIONS)
    with pytest.raises(ValueError, match=r"for a stream; got 10 and 0\.05"):
        sequence_data(DOCUMENTS, "text", **{**OPTIONS, "validation": 0.05})
    few = sequence_data(DOCUMENTS, "text", **{**OPTIONS, "validation": 299})
    with pytest.raises(ValueError, match="at least 1 sequence of `length` 10"):
        next(iter(few.train))
