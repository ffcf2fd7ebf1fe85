"""Tokenizers of published checkpoints."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import tokenizers
from transformers import AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from discrete_diffusion.checkpoints.errors import first_line
from discrete_diffusion.checkpoints.published.inert import Inert
from discrete_diffusion.datasets import pretrained_tokenizer

FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json")

Tokenizer = PreTrainedTokenizerBase | str | Path
"""A tokenizer, its folder, or its name on the Hugging Face hub."""


def has_tokenizer(directory: Path) -> bool:
    """Return whether the folder holds a tokenizer."""
    return any((directory / name).is_file() for name in FILES)


def find_tokenizer(directory: Path, given: Tokenizer | None) -> PreTrainedTokenizerBase:
    """Return the given tokenizer, or the one in the folder.

    Raises:
        ValueError: If there is none, or the one in the folder cannot be read without running its code.
        ConnectionError: If a tokenizer given by name cannot be read.
    """
    if isinstance(given, str | Path):
        return pretrained_tokenizer(given)
    if given is not None:
        return given
    if not has_tokenizer(directory):
        raise ValueError(
            f"Expected a tokenizer in {directory}, which has none: pass the one that the model was trained with as "
            "`tokenizer`, its folder or its name on the hub."
        )
    try:
        # Without a configuration it would read the model's, which transformers does not know and warns of.
        tokenizer = AutoTokenizer.from_pretrained(directory, config=PretrainedConfig(), trust_remote_code=False)
    except Exception as error:
        reason = first_line(error)
        raise ValueError(f"The tokenizer in {directory} cannot be read ({reason}): pass one as `tokenizer`.") from error
    # As the published code does with BERT's, so that every sequence has a token that begins and one that ends it.
    tokenizer.bos_token = tokenizer.bos_token or tokenizer.cls_token
    tokenizer.eos_token = tokenizer.eos_token or tokenizer.sep_token
    return tokenizer


def fitted(tokenizer: PreTrainedTokenizerBase, vocab_size: int, *, masks: bool, where: str) -> PreTrainedTokenizerBase:
    """Return the tokenizer with a mask, which the published code appends to a tokenizer without one.

    Args:
        tokenizer: The tokenizer.
        vocab_size: Vocabulary size of the network.
        masks: Whether the model's noise is a mask, so that there must be one.
        where: Name of the checkpoint in errors.

    Raises:
        ValueError: If it cannot be the tokenizer that the network was trained with.
    """
    symbols, last = len(tokenizer), vocab_size - 1
    if symbols not in (vocab_size, last) or (symbols == last and tokenizer.mask_token is not None):
        raise ValueError(f"Expected a tokenizer of {vocab_size} symbols for {where}, got one of {symbols}.")
    if symbols == vocab_size and (tokenizer.mask_token is not None or not masks):
        return tokenizer
    tokenizer = deepcopy(tokenizer)
    if symbols == last:
        tokenizer.add_special_tokens({"mask_token": "<mask>"})
    elif last in tokenizer.all_special_ids:
        # Padding that the published code added behind the last symbol, where it counts its mask: one id is both.
        tokenizer.mask_token = tokenizer.convert_ids_to_tokens(last)
    else:
        raise ValueError(
            f"Expected a tokenizer with a mask for {where}, or one of {last} symbols, to which a mask is added."
        )
    return tokenizer


SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def unpickled_tokenizer(stand_in: Inert | None) -> PreTrainedTokenizerFast | None:
    """Return the tokenizer that a pickle describes, or None if the pickle does not describe it completely.

    Fast tokenizers are pickled as their tokenizer.json and the names of their special tokens. Other tokenizers are
    code, as is anything that a custom class adds to a fast one.
    """
    state = {} if stand_in is None or not isinstance(stand_in.state, Mapping) else stand_in.state
    backend = state.get("_tokenizer")
    if stand_in is None or not stand_in.path.startswith("transformers."):
        return None
    if not isinstance(backend, Inert) or backend.path != "tokenizers.Tokenizer":
        return None
    written = backend.state
    try:
        read = tokenizers.Tokenizer.from_str(written.decode() if isinstance(written, bytes) else written)
    except Exception:  # whatever tokenizers says of a file of another version
        return None
    # One dictionary since transformers 4.48, an attribute each before.
    kept = state.get("_special_tokens_map")
    found = kept if isinstance(kept, Mapping) else {name: state.get(f"_{name}") for name in SPECIAL}
    special = {name: text for name in SPECIAL if (text := _content(found.get(name))) is not None}
    return PreTrainedTokenizerFast(
        tokenizer_object=read,
        padding_side="right",
        truncation_side="right",
        clean_up_tokenization_spaces=False,
        **special,
    )


def is_of_tokenizer(note: str) -> bool:
    """Return whether a part of the file that was not understood belongs to a pickled tokenizer."""
    return note.startswith(("objects of tokenizers.", "objects of transformers."))


def _content(token: Any) -> str | None:
    if isinstance(token, Inert) and isinstance(token.state, Mapping):
        token = token.state.get("content")
    return token if isinstance(token, str) else None
