"""Models of `transformers`, from a folder or the Hugging Face hub."""

import os
from typing import Any

from transformers import AutoTokenizer, PreTrainedModel


def pretrained(
    family: Any, name_or_path: str | os.PathLike[str], *, device: str, trust_remote_code: bool
) -> tuple[Any, Any]:
    """Load a model for evaluation and its tokenizer, and give the tokenizer a padding token.

    Args:
        family: Auto class of the model.
        name_or_path: Folder of the model, or its name on the hub.
        device: Device of the model.
        trust_remote_code: Whether code that comes with the model may run.

    Raises:
        ValueError: If the model or the tokenizer cannot be loaded.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, trust_remote_code=trust_remote_code)
        model = family.from_pretrained(name_or_path, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"Expected a folder with a model and its tokenizer, or a name on the Hugging Face hub, got "
            f"{str(name_or_path)!r}: {reason}"
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return model.eval().requires_grad_(False).to(device), tokenizer


def context_limit(model: PreTrainedModel, max_length: int | None) -> int | None:
    """Return the number of tokens that a model reads, or None if it has no limit.

    Args:
        model: Model, whose config may hold its number of positions.
        max_length: Requested number; by default all positions of the model.

    Raises:
        ValueError: If `max_length` is below 2 or above the number of positions.
    """
    # Configs of transformers have no common fields. Some map this name to their own, such as GPT-2 to `n_positions`.
    limit = getattr(model.config, "max_position_embeddings", None)
    if max_length is None:
        return limit
    if max_length < 2 or (limit is not None and max_length > limit):
        raise ValueError(f"Expected `max_length` from 2 to {limit or 'any number'}, got {max_length}.")
    return max_length
