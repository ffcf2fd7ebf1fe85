"""Tokenizers of text."""

from string import ascii_lowercase

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, BertTokenizerFast, PreTrainedTokenizerFast

from discrete_diffusion.datasets.letter_tokenizer import letter_tokenizer, text8_tokenizer
from discrete_diffusion.datasets.pretrained_tokenizer import pretrained_tokenizer
from discrete_diffusion.datasets.reviews import reviews
from discrete_diffusion.datasets.word_tokenizer import word_tokenizer

TEXTS = ["It's good, (isn't it?)  Really: the best; buy it!", "the pan was dented, the lid was not.", "naïve 日本 x"]


def test_the_published_vocabulary_of_text8():
    tokenizer = text8_tokenizer()
    special = ["[CLS]", "[SEP]", "[BOS]", "[EOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]"]
    assert tokenizer.convert_ids_to_tokens(range(35)) == [*special, *ascii_lowercase, " "]
    assert len(tokenizer) == 35
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.mask_token_id) == (2, 3, 4)
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id) == (5, 7)
    assert tokenizer("aZ b", add_special_tokens=False)["input_ids"] == [8, 33, 34, 9]
    assert tokenizer("a")["input_ids"] == [2, 8, 3]
    assert tokenizer("a1", add_special_tokens=False)["input_ids"] == [8, 7]
    assert tokenizer.decode([8, 34, 4, 9]) == "a [MASK]b"


def test_the_plain_alphabet_has_no_special_tokens():
    tokenizer = letter_tokenizer()
    assert tokenizer.convert_ids_to_tokens(range(27)) == [" ", *ascii_lowercase]
    assert len(tokenizer) == 27
    assert tokenizer.all_special_tokens == []
    assert tokenizer(" a  z")["input_ids"] == [0, 1, 0, 0, 26]
    assert tokenizer.decode([0, 1, 0, 0, 26]) == " a  z"
    with pytest.raises(Exception, match="Missing"):
        tokenizer("A")


def test_words_come_back_in_lower_case():
    tokenizer = word_tokenizer(TEXTS)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert tokenizer.convert_ids_to_tokens(range(5)) == special
    assert set(tokenizer.all_special_ids) == set(range(5))
    ids = tokenizer(TEXTS)["input_ids"]
    assert all(row[0] == tokenizer.bos_token_id == 2 and row[-1] == tokenizer.eos_token_id == 3 for row in ids)
    decoded = [tokenizer.decode(row, skip_special_tokens=True) for row in ids]
    assert decoded == ["it's good, (isn't it?) really: the best; buy it!", TEXTS[1], "naive 日 本 x"]
    assert tokenizer.convert_ids_to_tokens(tokenizer("the zzz")["input_ids"]) == ["[CLS]", "the", "[UNK]", "[SEP]"]


def test_words_are_whole_where_there_is_room_and_cut_where_there_is_not():
    texts = reviews(200)["text"][:]
    whole, cut = word_tokenizer(texts), word_tokenizer(texts, vocab_size=100)
    assert len(cut) <= 100 < len(whole)
    assert not any(token.startswith("##") for token in whole.get_vocab())
    for tokenizer in (whole, cut):
        encoded = tokenizer(texts)["input_ids"]
        assert [tokenizer.decode(ids, skip_special_tokens=True) for ids in encoded] == texts
        assert {i for ids in encoded for i in ids} | {0, 1, 4} == set(range(len(tokenizer)))
    assert whole(texts[0])["input_ids"] != cut(texts[0])["input_ids"]
    with pytest.raises(ValueError, match=r"Expected `vocab_size` >= \d+, which all characters need, got 20"):
        word_tokenizer(texts, vocab_size=20)


def test_the_vocabulary_depends_on_the_strings_alone():
    texts = reviews(100)["text"][:]
    # The trainer's hash maps are seeded anew each time.
    made = [sorted(word_tokenizer(strings, vocab_size=150).get_vocab().items()) for strings in (texts, texts[::-1])]
    assert made[0] == made[1] == sorted(word_tokenizer(texts, vocab_size=150).get_vocab().items())


def test_saving_and_loading_changes_nothing(tmp_path):
    made = {"letters": letter_tokenizer(), "text8": text8_tokenizer(), "words": word_tokenizer(TEXTS)}
    for name, tokenizer in made.items():
        tokenizer.save_pretrained(tmp_path / name)
        loaded = AutoTokenizer.from_pretrained(tmp_path / name)
        assert loaded.get_vocab() == tokenizer.get_vocab()
        assert loaded.special_tokens_map == tokenizer.special_tokens_map
        ids = tokenizer(TEXTS[1].replace(",", "").replace(".", ""))["input_ids"]
        assert loaded(TEXTS[1].replace(",", "").replace(".", ""))["input_ids"] == ids
        assert loaded.decode(ids) == tokenizer.decode(ids)


def test_a_pretrained_tokenizer_begins_ends_and_pads(tmp_path):
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "##ness", "bad"]
    bert = BertTokenizerFast(vocab={token: i for i, token in enumerate(vocabulary)})
    bert.save_pretrained(tmp_path / "bert")
    loaded = pretrained_tokenizer(tmp_path / "bert")
    assert (loaded.bos_token, loaded.eos_token, loaded.pad_token) == ("[CLS]", "[SEP]", "[PAD]")
    assert loaded("goodness bad")["input_ids"] == [2, 5, 6, 7, 3]
    assert len(loaded) == 8

    backend = Tokenizer(models.WordLevel({"<end>": 0, "good": 1, "bad": 2}, unk_token="<end>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    plain = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<end>", eos_token="<end>")
    plain.save_pretrained(tmp_path / "gpt")
    loaded = pretrained_tokenizer(tmp_path / "gpt")
    assert loaded(["good", "good bad"], padding=True)["input_ids"] == [[0, 1, 0, 3], [0, 1, 2, 0]]
    assert loaded.pad_token == "[PAD]"


def test_a_tokenizer_that_cannot_be_had(tmp_path):
    with pytest.raises(ConnectionError, match=r"^The tokenizer .*none' cannot be read .* as `name_or_path`\.$"):
        pretrained_tokenizer(tmp_path / "none")
    letter_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="tokens that begin and end a sequence"):
        pretrained_tokenizer(tmp_path)
