"""Tokenizers of words and parts of words."""

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Ids 0 to 4; a text is encoded as `[CLS] pieces [SEP]`, as BERT's are."""

PREFIX = "##"


def word_tokenizer(strings: Iterable[str], vocab_size: int = 8192) -> PreTrainedTokenizerFast:
    """Train a WordPiece tokenizer in lower case, like that of BERT (arXiv 1810.04805).

    It depends on the strings alone. Unused pieces are left out, so that a small vocabulary of whole words stays small.
    Decoding returns text in lower case, with apostrophes and closing punctuation in place.

    Args:
        strings: Training texts.
        vocab_size: Largest number of tokens, special tokens included.

    Raises:
        ValueError: If there are more characters than `vocab_size`.
    """
    normalizer, cutter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    counts: dict[str, int] = {}
    for string in strings:
        for word, _ in cutter.pre_tokenize_str(normalizer.normalize_str(string)):
            counts[word] = counts.get(word, 0) + 1
    # The trainer numbers characters in the order in which it meets them, another each run; given ones keep theirs.
    first = sorted({word[0] for word in counts})
    characters = [*first, *sorted({PREFIX + character for word in counts for character in word[1:]})]
    given = [*SPECIAL_TOKENS, *(one for one in characters if one not in SPECIAL_TOKENS)]
    if len(given) > vocab_size:
        raise ValueError(f"Expected `vocab_size` >= {len(given)}, which all characters need, got {vocab_size}.")
    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=given, continuing_subword_prefix=PREFIX, show_progress=False
    )
    repeated = (" ".join([word] * count) for word, count in counts.items())
    trained.train_from_iterator(repeated, trainer)
    pieces = models.WordPiece(trained.get_vocab(), unk_token="[UNK]", max_input_chars_per_word=100)
    used = {piece.value for word in counts for piece in pieces.tokenize(word)} - set(SPECIAL_TOKENS)
    return _fast({token: i for i, token in enumerate((*SPECIAL_TOKENS, *sorted(used)))})


def _fast(ids: dict[str, int]) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")]
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix=PREFIX, cleanup=False),
            decoders.Fuse(),
            decoders.Replace(Regex(r" (?=[.,!?;:)%])"), ""),
            decoders.Replace(Regex(r"(?<=[(]) "), ""),
            decoders.Replace(Regex(r"(?<=\w) ' (?=\w)"), "'"),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="[CLS]",
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
