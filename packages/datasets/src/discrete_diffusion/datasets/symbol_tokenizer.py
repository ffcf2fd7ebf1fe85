"""Fast tokenizer of a closed set of symbols."""

from collections.abc import Callable, Iterable, Mapping

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from discrete_diffusion.datasets.row_report import UnreadableStringsError

SPECIAL_TOKENS = ("<bos>", "<eos>", "<mask>", "<pad>", "<unk>")
"""Ids 0 to 4 of every tokenizer, in the order of the tokenizers that the paper published."""


def symbol_tokenizer(ids: Mapping[str, int], pattern: str) -> PreTrainedTokenizerFast:
    """Build a tokenizer that cuts text by the regular expression `pattern` and looks each piece up in `ids`.

    A text is encoded as `<bos> symbols <eos>`, and decoding joins the symbols with nothing between them, so that every
    text made of known symbols comes back as it was. Saving and loading change no id: all of them are in one vocabulary.

    Args:
        ids: Id of each symbol and special token: 0, 1, 2, ... without gaps.
        pattern: Regular expression of a symbol.

    Raises:
        ValueError: If a special token is missing or the ids have gaps.
    """
    missing = [token for token in SPECIAL_TOKENS if token not in ids]
    if missing:
        raise ValueError(f"Expected the special tokens among the symbols, but {', '.join(missing)} are missing.")
    if sorted(ids.values()) != list(range(len(ids))):
        raise ValueError(f"Expected the ids 0 to {len(ids) - 1} once each, got {sorted(ids.values())}.")
    backend = Tokenizer(models.WordLevel(dict(ids), unk_token="<unk>"))
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", ids["<bos>"]), ("<eos>", ids["<eos>"])]
    )
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<bos>",
        eos_token="<eos>",
        mask_token="<mask>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="right",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def numbered(symbols: set[str]) -> dict[str, int]:
    """Assign ids to the special tokens first, then to the symbols in the order of their code points."""
    return {symbol: i for i, symbol in enumerate((*SPECIAL_TOKENS, *sorted(symbols)))}


def collected(strings: Iterable[str], symbols: Callable[[str], Iterable[str]], reason: str) -> set[str]:
    """Return the symbols of all strings.

    Args:
        strings: Strings to read.
        symbols: Function from a string to its symbols, which raises ValueError if it cannot read the string.
        reason: What is wrong with such a string.

    Raises:
        UnreadableStringsError: If `symbols` cannot read a string; it names every such string.
    """
    found: set[str] = set()
    unreadable, first = [], None
    for position, string in enumerate(strings):
        try:
            found.update(symbols(string))
        except ValueError as error:
            unreadable.append(position)
            first = first or error
    if first is not None:
        raise UnreadableStringsError(str(first), unreadable, reason) from first
    return found
