"""Tokenizers of text in a-z and spaces."""

from string import ascii_lowercase

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

TEXT8_SPECIAL_TOKENS = ("[CLS]", "[SEP]", "[BOS]", "[EOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]")
"""Ids 0 to 7 of the vocabulary of text8 in D3PM and in the code of arXiv 2412.10193."""


def letter_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer of 27 tokens: space (0) and a to z, without special tokens.

    There is no token for unknown characters: they are an error.
    """
    backend = _characters({character: i for i, character in enumerate(" " + ascii_lowercase)}, unknown="")
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False)


def text8_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer of 35 tokens of the published code: eight special, a to z (8 to 33), the space (34).

    Text is read in lower case, and encoded as `[BOS] characters [EOS]` if special tokens are requested.
    """
    ids = {token: i for i, token in enumerate((*TEXT8_SPECIAL_TOKENS, *ascii_lowercase, " "))}
    backend = _characters(ids, unknown="[UNK]")
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in TEXT8_SPECIAL_TOKENS])
    backend.normalizer = normalizers.Lowercase()
    backend.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[(token, ids[token]) for token in ("[BOS]", "[EOS]")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="[BOS]",
        eos_token="[EOS]",
        sep_token="[SEP]",
        cls_token="[CLS]",
        pad_token="[PAD]",
        mask_token="[MASK]",
        unk_token="[UNK]",
        padding_side="right",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def _characters(ids: dict[str, int], unknown: str) -> Tokenizer:
    backend = Tokenizer(models.WordLevel(ids, unk_token=unknown))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    backend.decoder = decoders.Fuse()
    return backend
