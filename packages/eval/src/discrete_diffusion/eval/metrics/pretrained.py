"""Models of `transformers`, from a folder or the hub."""

import os
from typing import Any

from transformers import AutoTokenizer


def pretrained(
    family: Any, name_or_path: str | os.PathLike[str], *, device: str, trust_remote_code: bool
) -> tuple[Any, Any]:
    """A model of an Auto class, ready to be asked, and its tokenizer, which can pad.

    Raises:
        ValueError: If either cannot be loaded.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, trust_remote_code=trust_remote_code)
        model = family.from_pretrained(name_or_path, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"Expected a folder with a model and its tokenizer, or their name on the Hugging Face hub, got "
            f"{str(name_or_path)!r}: {reason}"
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return model.eval().requires_grad_(False).to(device), tokenizer


def context_limit(model: Any, asked: int | None) -> int | None:
    """The most tokens that a model reads: what is asked, where its positions are as many; None is without limit.

    Raises:
        ValueError: If the model has fewer positions than asked, or fewer than two are.
    """
    limit = getattr(model.config, "max_position_embeddings", None)
    if asked is None:
        return limit
    if asked < 2 or (limit is not None and asked > limit):
        raise ValueError(f"Expected `max_length` from 2 to {limit or 'any number'}, got {asked}.")
    return asked
