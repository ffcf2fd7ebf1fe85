"""Tokenizers, labels and data for discrete generative models, with molecules embedded."""

from discrete_diffusion.datasets.augmentation import Augmentation, RandomCrop
from discrete_diffusion.datasets.character_tokenizer import character_tokenizer
from discrete_diffusion.datasets.labels import (
    CategoryLabel,
    FittedCategoryLabel,
    Label,
    LabelRule,
    PercentileLabel,
    ThresholdLabel,
    label_from_dict,
    load_label,
    save_label,
)
from discrete_diffusion.datasets.layouts import Layout, Padded, Wrapped
from discrete_diffusion.datasets.molecules import molecules
from discrete_diffusion.datasets.qm9 import qm9
from discrete_diffusion.datasets.sequences import SequenceData, decode, sequence_data
from discrete_diffusion.datasets.smiles_tokenizer import smiles_tokenizer, smiles_tokenizer_from_vocab
from discrete_diffusion.datasets.stream import Stream
from discrete_diffusion.datasets.table import table

__all__ = [
    "Augmentation",
    "CategoryLabel",
    "FittedCategoryLabel",
    "Label",
    "LabelRule",
    "Layout",
    "Padded",
    "PercentileLabel",
    "RandomCrop",
    "SequenceData",
    "Stream",
    "ThresholdLabel",
    "Wrapped",
    "character_tokenizer",
    "decode",
    "label_from_dict",
    "load_label",
    "molecules",
    "qm9",
    "save_label",
    "sequence_data",
    "smiles_tokenizer",
    "smiles_tokenizer_from_vocab",
    "table",
]
