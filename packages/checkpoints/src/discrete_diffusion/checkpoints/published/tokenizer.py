"""Tokenizers of published checkpoints."""

from copy import deepcopy
from pathlib import Path

from transformers import AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from discrete_diffusion.checkpoints.errors import first_line
from discrete_diffusion.datasets import pretrained_tokenizer

FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json")

Tokenizer = PreTrainedTokenizerBase | str | Path
"""A tokenizer, its folder, or its name on the Hugging Face hub."""


def has_tokenizer(directory: Path) -> bool:
    """Say whether the folder holds a tokenizer."""
    return any((directory / name).is_file() for name in FILES)


def find_tokenizer(directory: Path, given: Tokenizer | None) -> PreTrainedTokenizerBase:
    """The tokenizer that is given, or that of the folder.

    Raises:
        ValueError: if there is none, or the folder's cannot be read without running its code.
        ConnectionError: if the one that is given by its name cannot be read.
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
    """The tokenizer with the token that the published code counts behind those of a tokenizer without a mask.

    Args:
        vocab_size: of the network.
        masks: the model's noise is a mask, so that there must be one.
        where: what errors call the checkpoint.

    Raises:
        ValueError: if it cannot be the tokenizer that the network was trained with.
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
