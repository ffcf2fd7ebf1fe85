"""Tokenizer of SELFIES symbols."""

import re
from collections.abc import Iterable

from transformers import PreTrainedTokenizerFast

from discrete_diffusion.datasets.symbol_tokenizer import collected, numbered, symbol_tokenizer

SELFIES_PATTERN = r"\[[^\[\]]+\]|\."
"""One symbol of SELFIES: a pair of brackets with its content, or the dot between two molecules (Krenn et al., 2020)."""

_SYMBOL = re.compile(SELFIES_PATTERN)


def selfies_symbols(selfies: str) -> list[str]:
    """Cut a SELFIES string into its symbols.

    Raises:
        ValueError: If there are other characters between them.
    """
    symbols = _SYMBOL.findall(selfies)
    if "".join(symbols) != selfies:
        raise ValueError(f"Expected SELFIES, got {selfies!r}, of which only {''.join(symbols)!r} can be read.")
    return symbols


def selfies_tokenizer(selfies: Iterable[str]) -> PreTrainedTokenizerFast:
    """Build a SELFIES tokenizer whose vocabulary is the symbols of `selfies`, after the five special tokens.

    The ids depend on the set of symbols alone, not on the order of the strings.

    Raises:
        UnreadableStringsError: If a string is not SELFIES; it names every such string.
    """
    return symbol_tokenizer(numbered(collected(selfies, selfies_symbols, "not SELFIES")), SELFIES_PATTERN)
