"""Tokenizers of SMILES symbols."""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from discrete_diffusion.datasets.symbol_tokenizer import SPECIAL_TOKENS, collected, numbered, symbol_tokenizer

SMILES_PATTERN = r"\[[^\]]+\]|Br|Cl|%[0-9]{2}|[BCNOPSFIbcnops]|[0-9]|[().=#$:/\\~@?>*+-]"
"""One symbol of SMILES: a bracket atom, an atom, a bond, a branch or a ring closure (Schwaller et al., 2019)."""

_SYMBOL = re.compile(SMILES_PATTERN)


def smiles_symbols(smiles: str) -> list[str]:
    """Cut a SMILES string into its symbols.

    Raises:
        ValueError: If a part of it is not a symbol of SMILES.
    """
    symbols = _SYMBOL.findall(smiles)
    if "".join(symbols) != smiles:
        raise ValueError(f"Expected SMILES, got {smiles!r}, of which only {''.join(symbols)!r} can be read.")
    return symbols


def smiles_tokenizer(smiles: Iterable[str]) -> PreTrainedTokenizerFast:
    """Build a SMILES tokenizer whose vocabulary is the symbols of `smiles`, after the five special tokens.

    The ids depend on the set of symbols alone, not on the order of the strings.

    Raises:
        UnreadableStringsError: If a string is not SMILES; it names every such string.
    """
    return symbol_tokenizer(numbered(collected(smiles, smiles_symbols, "not SMILES")), SMILES_PATTERN)


def smiles_tokenizer_from_vocab(path: str | os.PathLike[str]) -> PreTrainedTokenizerFast:
    """Build a SMILES tokenizer from a `vocab.json`, which maps each symbol to its id.

    If the file has no special tokens, its symbols are numbered from 0 and follow the five special tokens (30 symbols
    give 35 ids). A file with the special tokens is used unchanged.

    Raises:
        ValueError: If the file is not such a mapping, has gaps, or has only some of the special tokens.
        FileNotFoundError: If there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a vocabulary file, but {path} does not exist.")
    try:
        ids = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"Expected {path} to hold JSON: {error}.") from error
    if not isinstance(ids, dict) or not all(type(i) is int for i in ids.values()):
        raise ValueError(f"Expected {path} to map symbols to integer ids.")
    if not any(token in ids for token in SPECIAL_TOKENS):
        ids = numbered(set()) | {symbol: i + len(SPECIAL_TOKENS) for symbol, i in ids.items()}
    return symbol_tokenizer(ids, SMILES_PATTERN)
