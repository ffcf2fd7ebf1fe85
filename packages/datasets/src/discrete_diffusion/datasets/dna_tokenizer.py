"""Tokenizer of DNA."""

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = ("[CLS]", "[SEP]", "[BOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]")
LETTERS = "ACGTN"


def dna_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of letters with the vocabulary of HyenaDNA and Caduceus.

        [CLS] [SEP] [BOS] [MASK] [PAD] [RESERVED] [UNK] A C G T N    ids 0 to 11

    (arXiv 2306.15794 and 2403.03234). Letters of either case are the same token, and any other is [UNK]. With special
    tokens a sequence is encoded as `[BOS] letters [SEP]`. Decoding joins the letters with nothing between them.
    """
    backend = Tokenizer(models.WordLevel({t: i for i, t in enumerate((*SPECIAL_TOKENS, *LETTERS))}, unk_token="[UNK]"))
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    backend.normalizer = normalizers.Sequence([normalizers.Replace(letter.lower(), letter) for letter in LETTERS])
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    backend.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [SEP]",
        special_tokens=[(token, SPECIAL_TOKENS.index(token)) for token in ("[BOS]", "[SEP]")],
    )
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="[BOS]",
        eos_token="[SEP]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        pad_token="[PAD]",
        unk_token="[UNK]",
        padding_side="right",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
