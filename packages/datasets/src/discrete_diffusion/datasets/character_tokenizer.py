"""Tokenizers that read text character by character."""

from collections.abc import Iterable

from transformers import PreTrainedTokenizerFast

from discrete_diffusion.datasets.symbol_tokenizer import SPECIAL_TOKENS, numbered, symbol_tokenizer


def character_tokenizer(strings: Iterable[str]) -> PreTrainedTokenizerFast:
    """Builds a tokenizer whose vocabulary is the characters (code points) of `strings`, after the five special tokens.

    Raises:
        ValueError: if a string contains the text of a special token, which would be read as that token.
    """
    characters: set[str] = set()
    for string in strings:
        characters.update(string)
        if "<" in string and any(token in string for token in SPECIAL_TOKENS):
            raise ValueError(f"Expected strings without {', '.join(SPECIAL_TOKENS)}, got {string!r}.")
    return symbol_tokenizer(numbered(characters), r"[\s\S]")
