import pytest
import torch
from transformers import AutoTokenizer

from discrete_diffusion.datasets import character_tokenizer, decode
from discrete_diffusion.datasets.dna_tokenizer import dna_tokenizer
from discrete_diffusion.datasets.reverse_complement import ReverseComplement


def letters(text):
    return torch.tensor(dna_tokenizer()(text, add_special_tokens=False)["input_ids"])


def test_the_published_ids(tmp_path):
    tokenizer = dna_tokenizer()
    for _ in range(2):
        assert len(tokenizer) == 12
        assert tokenizer.convert_ids_to_tokens(list(range(12))) == [
            *("[CLS]", "[SEP]", "[BOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]"),
            *"ACGTN",
        ]
        assert tokenizer("acgtnACGTN")["input_ids"] == [2, *range(7, 12), *range(7, 12), 1]
        assert tokenizer("A-u", add_special_tokens=False)["input_ids"] == [7, 6, 6]
        assert tokenizer("A[MASK]c", add_special_tokens=False)["input_ids"] == [7, 3, 8]
        assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.mask_token_id) == (2, 1, 3)
        assert (tokenizer.pad_token_id, tokenizer.unk_token_id) == (4, 6)
        assert (tokenizer.cls_token_id, tokenizer.sep_token_id) == (0, 1)
        tokenizer.save_pretrained(tmp_path)
        tokenizer = AutoTokenizer.from_pretrained(tmp_path)


def test_decoding_puts_nothing_between_letters():
    tokenizer = dna_tokenizer()
    assert decode(tokenizer, torch.tensor([tokenizer("acgtn")["input_ids"]])) == ["ACGTN"]
    assert decode(tokenizer, torch.tensor([[7, 3, 8, 4]])) == ["A[MASK]C[PAD]"]


def test_the_other_strand():
    augment = ReverseComplement(dna_tokenizer(), 1.0)
    x0 = torch.stack([letters("AACGTN"), letters("TTTTCC")])
    made = augment(x0, torch.Generator())
    assert torch.equal(made, torch.stack([letters("NACGTT"), letters("GGAAAA")]))
    assert torch.equal(augment(made, torch.Generator()), x0)
    assert augment.reads(6) == 6


def test_what_frames_a_sequence_stays_in_place():
    augment = ReverseComplement(dna_tokenizer(), 1.0)
    x0 = letters("[BOS]AAC[MASK]G[SEP][PAD][PAD]")[None]
    made = augment(x0, torch.Generator())
    assert torch.equal(made, letters("[BOS]C[MASK]GTT[SEP][PAD][PAD]")[None])
    assert torch.equal(augment(made, torch.Generator()), x0)


def test_rows_are_chosen_by_the_generator():
    augment = ReverseComplement(dna_tokenizer(), 0.25)
    x0 = letters("AAAA").repeat(4000, 1)
    state = torch.random.get_rng_state()
    made = augment(x0, torch.Generator().manual_seed(0))
    assert torch.equal(made, augment(x0, torch.Generator().manual_seed(0)))
    assert torch.equal(torch.random.get_rng_state(), state)
    turned = (made == letters("TTTT")).all(1)
    assert torch.equal(made[~turned], x0[~turned])
    assert turned.double().mean().item() == pytest.approx(0.25, abs=0.03)
    assert torch.equal(x0, letters("AAAA").repeat(4000, 1))
    assert torch.equal(ReverseComplement(dna_tokenizer(), 0.0)(x0, torch.Generator()), x0)


def test_letters_of_any_tokenizer():
    tokenizer = character_tokenizer(["ACGTacgt-"])
    x0 = torch.tensor([tokenizer("AC-gt")["input_ids"]])
    made = ReverseComplement(tokenizer, 1.0)(x0, torch.Generator())
    assert decode(tokenizer, made) == ["ac-GT"]
    with pytest.raises(ValueError, match="the letters A, C, G and T, but G, T is missing"):
        ReverseComplement(character_tokenizer(["AC"]))
    with pytest.raises(ValueError, match=r"Expected 0 <= `probability` <= 1, got 1\.5"):
        ReverseComplement(dna_tokenizer(), 1.5)
