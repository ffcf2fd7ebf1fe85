"""Pickled tokenizers, read as data."""

from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from discrete_diffusion.checkpoints.published.inert import Inert

SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def unpickled_tokenizer(stand_in: Inert | None) -> PreTrainedTokenizerFast | None:
    """The tokenizer that a pickle describes, None where it is not one that says all of itself.

    Fast tokenizers are pickled as their tokenizer.json and the names of their special tokens. The others are code, and
    so is what a class of somebody's own adds to a fast one.
    """
    state = {} if stand_in is None or not isinstance(stand_in.state, Mapping) else stand_in.state
    backend = state.get("_tokenizer")
    if stand_in is None or not stand_in.path.startswith("transformers."):
        return None
    if not isinstance(backend, Inert) or backend.path != "tokenizers.Tokenizer":
        return None
    written = backend.state
    try:
        read = Tokenizer.from_str(written.decode() if isinstance(written, bytes) else written)
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
    """Say whether what was not understood is a part of a pickled tokenizer."""
    return note.startswith(("objects of tokenizers.", "objects of transformers."))


def _content(token: Any) -> str | None:
    if isinstance(token, Inert) and isinstance(token.state, Mapping):
        token = token.state.get("content")
    return token if isinstance(token, str) else None
