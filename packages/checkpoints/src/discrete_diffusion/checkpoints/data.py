"""Data of a checkpoint, built from its settings."""

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedTokenizerBase

from discrete_diffusion.checkpoints.build import build, check_arguments
from discrete_diffusion.datasets import FittedValueLabel, LabelRule, SequenceData, ValueLabel, sequence_data

OPTIONAL = ("layout", "augment", "allow_unknown", "validation", "seed", "max_dropped")
"""Optional arguments of `sequence_data`."""


def build_data(
    settings: Mapping[str, Any],
    *,
    tokenizer: PreTrainedTokenizerBase | Any,
    label: LabelRule | ValueLabel | FittedValueLabel | None,
    length: int | None,
) -> SequenceData:
    """Load, encode and split the rows that the settings name.

    Raises:
        ValueError: If a setting is of another type or out of range.
    """
    # Data of checkpoints without the setting were accepted at any share of dropped rows.
    settings = {"max_dropped": 1.0, **settings}
    arguments = {
        "column": settings["column"],
        "tokenizer": tokenizer,
        "label": label,
        "length": length,
        **{name: build(settings[name]) for name in OPTIONAL if name in settings},
    }
    # Before the rows are built, which may take long.
    check_arguments("data", sequence_data, arguments, waits=True)
    return sequence_data(rows=build(settings["rows"]), **arguments)
