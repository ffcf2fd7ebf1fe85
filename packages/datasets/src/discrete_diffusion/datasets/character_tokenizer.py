"""Tokenizers that read text character by character."""

from collections.abc import Iterable

from transformers import PreTrainedTokenizerFast

from discrete_diffusion.datasets.symbol_tokenizer import SPECIAL_TOKENS, collected, numbered, symbol_tokenizer


def character_tokenizer(strings: Iterable[str]) -> PreTrainedTokenizerFast:
    """Build a tokenizer whose vocabulary is the characters (code points) of `strings`, after the five special tokens.

    Raises:
        UnreadableStringsError: If a string contains the text of a special token, which would be read as that token.
    """
    return symbol_tokenizer(
        numbered(collected(strings, _characters, "contains the text of a special token")), r"[\s\S]"
    )


def _characters(string: str) -> str:
    if "<" in string and any(token in string for token in SPECIAL_TOKENS):
        raise ValueError(f"Expected strings without {', '.join(SPECIAL_TOKENS)}, got {string!r}.")
    return string
