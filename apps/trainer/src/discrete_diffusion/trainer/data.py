"""From the configuration's words to sequences of tokens."""

from collections.abc import Mapping
from typing import Any

from hydra.utils import instantiate
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.datasets import LabelRule, SequenceData, sequence_data

OPTIONAL = ("layout", "augment", "allow_unknown", "validation", "seed")
"""What `sequence_data` has a default for."""


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
        **{name: _built(settings[name]) for name in OPTIONAL if name in settings},
    )


def _built(setting: Any) -> Any:
    return instantiate(setting) if isinstance(setting, Mapping) else setting
