"""From the configuration's words to sequences of tokens."""

from collections.abc import Mapping
from typing import Any

from hydra.utils import instantiate
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.datasets import LabelRule, SequenceData, sequence_data


def build_data(
    settings: Mapping[str, Any],
    *,
    tokenizer: PreTrainedTokenizerBase | Any,
    label: LabelRule | None,
    length: int | None,
) -> SequenceData:
    """Load the rows that `settings` name, encode and split them."""
    return sequence_data(
        instantiate(settings["rows"]),
        settings["column"],
        tokenizer=tokenizer,
        label=label,
        length=length,
        drop_longer=settings["drop_longer"],
        validation=settings["validation"],
        seed=settings["seed"],
    )
