"""Tokenizers from folders and the Hugging Face hub."""

import os

from tokenizers import processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from discrete_diffusion.datasets.hub import UnreachableTokenizerError


def pretrained_tokenizer(
    name_or_path: str | os.PathLike[str], trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a folder or the Hugging Face hub, with tokens for beginning, end and padding.

    As in the code of arXiv 2412.10193, a tokenizer without tokens for the beginning and end uses `[CLS]` and `[SEP]`
    (BERT), a tokenizer that does not add both is made to (GPT-2), and a tokenizer without padding gets `[PAD]`.

    Args:
        name_or_path: Folder, or name on the hub.
        trust_remote_code: Whether code that comes with the tokenizer may run.

    Raises:
        UnreachableTokenizerError: If it cannot be read.
        ValueError: If it has no tokens for the beginning and end of a sequence.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UnreachableTokenizerError(
            f"The tokenizer {str(name_or_path)!r} cannot be read ({reason}): pass its folder as `name_or_path`."
        ) from error
    if tokenizer.bos_token is None:
        tokenizer.bos_token = tokenizer.cls_token
    if tokenizer.eos_token is None:
        tokenizer.eos_token = tokenizer.sep_token
    if tokenizer.bos_token is None or tokenizer.eos_token is None:
        raise ValueError(f"Expected a tokenizer with tokens that begin and end a sequence, {name_or_path} lacks one.")
    backend = getattr(tokenizer, "backend_tokenizer", None)
    begin, end = (tokenizer.bos_token, tokenizer.bos_token_id), (tokenizer.eos_token, tokenizer.eos_token_id)
    inside = tokenizer("a", add_special_tokens=False)["input_ids"]
    if backend is not None and tokenizer("a")["input_ids"] != [begin[1], *inside, end[1]]:
        backend.post_processor = processors.BertProcessing(end, begin)
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    return tokenizer
