"""Tokenizers of images, whose tokens are the levels of pixels."""

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


def pixel_tokenizer(levels: int = 256) -> PreTrainedTokenizerFast:
    """Build a tokenizer whose tokens are the numbers "0" to "levels - 1", with these numbers as ids.

    Images are written as numbers with white space between them, and decoded as numbers with one space between them:
    "0 5 13". There are no special tokens. A model that needs one, such as `<mask>`, adds it
    (`tokenizer.add_special_tokens({"mask_token": "<mask>"})`): it is added after the levels and changes no id.

    Raises:
        ValueError: If there are fewer than two levels.
    """
    if levels < 2:
        raise ValueError(f"Expected `levels` >= 2, got {levels}.")
    backend = Tokenizer(models.WordLevel({str(level): level for level in range(levels)}))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        padding_side="right",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
