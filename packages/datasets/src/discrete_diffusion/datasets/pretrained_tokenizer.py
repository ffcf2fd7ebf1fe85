"""Anybody's tokenizer."""

import os

from tokenizers import processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase


def pretrained_tokenizer(
    name_or_path: str | os.PathLike[str], trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Loads a tokenizer from a folder or the Hugging Face hub, as one that begins, ends and pads sequences.

    As in the code of arXiv 2412.10193: one without a token that begins or ends a sequence takes `[CLS]` and `[SEP]` for
    these (BERT), one that does not put both around a text comes to (GPT-2), and one without padding gets `[PAD]`.

    Raises:
        ConnectionError: if it cannot be read.
        ValueError: if it has no token that begins or ends a sequence.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ConnectionError(
            f"The tokenizer {str(name_or_path)!r} cannot be read ({reason}): pass the folder of one as `name_or_path` "
            "(`tokenizer.name_or_path=` on the command line)."
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
