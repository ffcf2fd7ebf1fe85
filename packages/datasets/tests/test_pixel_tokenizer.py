import pytest
import torch
from transformers import AutoTokenizer

from discrete_diffusion.datasets import HorizontalFlip, Padded, decode, digits, pixel_tokenizer, sequence_data


def test_levels_are_the_whole_vocabulary_and_their_own_ids():
    tokenizer = pixel_tokenizer(17)
    assert tokenizer.get_vocab() == {str(level): level for level in range(17)}
    assert tokenizer.all_special_tokens == []
    assert tokenizer("0 5  13\n16")["input_ids"] == [0, 5, 13, 16]
    assert tokenizer.decode([0, 5, 13]) == "0 5 13"
    assert len(pixel_tokenizer()) == 256
    with pytest.raises(ValueError, match="Expected `levels` >= 2, got 1"):
        pixel_tokenizer(1)


def test_saving_loading_and_special_tokens_change_no_id(tmp_path):
    tokenizer = pixel_tokenizer(17)
    tokenizer.save_pretrained(tmp_path / "plain")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "plain")
    assert loaded.get_vocab() == tokenizer.get_vocab()
    loaded.add_special_tokens({"mask_token": "<mask>", "bos_token": "<bos>"})
    loaded.save_pretrained(tmp_path / "mask")
    again = AutoTokenizer.from_pretrained(tmp_path / "mask")
    assert (len(again), again.mask_token_id, again.bos_token_id) == (19, 17, 18)
    assert again("0 16 3")["input_ids"] == [0, 16, 3]
    assert decode(again, torch.tensor([[18, 0, 17, 16], [1, 2, 3, 4]])) == ["0 <mask> 16", "1 2 3 4"]


def test_images_become_sequences_of_their_levels():
    pytest.importorskip("sklearn")
    rows = digits()
    data = sequence_data(rows, "pixels", tokenizer=pixel_tokenizer(17), layout=Padded(special_tokens=False))
    assert data.length == 64
    assert data.train.with_format(None)[3]["pixels"] == data.train[3]["input_ids"].tolist()
    text = decode(data.tokenizer, data.train[3]["input_ids"][None])[0]
    assert text == " ".join(map(str, data.train.with_format(None)[3]["pixels"]))


def test_a_flip_exchanges_left_and_right_and_nothing_else():
    x0 = torch.arange(24).view(2, 12)
    generator = torch.Generator().manual_seed(0)
    always = HorizontalFlip(pixel_tokenizer(24), height=2, width=3, channels=2, probability=1.0)
    first = [4, 5, 2, 3, 0, 1, 10, 11, 8, 9, 6, 7]
    assert always(x0, generator).tolist() == [first, [one + 12 for one in first]]
    assert always(always(x0, generator), generator).equal(x0)
    assert x0.equal(torch.arange(24).view(2, 12))
    never = HorizontalFlip(pixel_tokenizer(24), 2, 3, 2, probability=0.0)
    assert never(x0, generator).equal(x0)
    assert always.reads(12) == 12


def test_as_many_images_are_flipped_as_the_probability_says():
    flip = HorizontalFlip(pixel_tokenizer(4), height=1, width=2)
    x0 = torch.tensor([[0, 1]]).expand(10_000, 2)
    flipped = flip(x0, torch.Generator().manual_seed(0))[:, 0] == 1
    assert abs(flipped.double().mean() - 0.5) < 4 * 0.005  # four standard deviations
    assert flipped.equal(flip(x0, torch.Generator().manual_seed(0))[:, 0] == 1)
    with pytest.raises(ValueError, match="Expected images of 1 x 2 x 1 tokens, got 3 tokens"):
        flip(torch.zeros(1, 3, dtype=torch.long), torch.Generator())
    with pytest.raises(ValueError, match="Expected 0 <= `probability` <= 1, got 2"):
        HorizontalFlip(pixel_tokenizer(4), 1, 2, probability=2)
