"""Tokenizers, labels and data for discrete generative models."""

from discrete_diffusion.datasets.amazon_polarity import amazon_polarity
from discrete_diffusion.datasets.augmentation import Augmentation, RandomCrop
from discrete_diffusion.datasets.character_tokenizer import character_tokenizer
from discrete_diffusion.datasets.cifar10 import cifar10
from discrete_diffusion.datasets.digits import digits
from discrete_diffusion.datasets.dna_tokenizer import dna_tokenizer
from discrete_diffusion.datasets.fasta import read_fasta
from discrete_diffusion.datasets.files import locate_files, read_table
from discrete_diffusion.datasets.flips import HorizontalFlip
from discrete_diffusion.datasets.fragment_order import FragmentOrder
from discrete_diffusion.datasets.fragments import Fragments
from discrete_diffusion.datasets.hub import UnreachableDataError, UnreachableTokenizerError
from discrete_diffusion.datasets.image_folder import image_folder
from discrete_diffusion.datasets.labels import (
    CategoryLabel,
    FittedCategoryLabel,
    FittedJointLabel,
    FittedValueLabel,
    JointLabel,
    Label,
    LabelRule,
    PercentileLabel,
    ThresholdLabel,
    TooManyClassesError,
    ValueLabel,
    label_from_dict,
    load_label,
    save_label,
)
from discrete_diffusion.datasets.layouts import Layout, Padded, Wrapped
from discrete_diffusion.datasets.letter_tokenizer import letter_tokenizer, text8_tokenizer
from discrete_diffusion.datasets.lm1b import lm1b
from discrete_diffusion.datasets.molecules import molecules
from discrete_diffusion.datasets.moses import moses
from discrete_diffusion.datasets.openwebtext import openwebtext
from discrete_diffusion.datasets.pixel_tokenizer import pixel_tokenizer
from discrete_diffusion.datasets.pretrained_tokenizer import pretrained_tokenizer
from discrete_diffusion.datasets.prose import prose
from discrete_diffusion.datasets.protein_distribution import SyntheticProteins
from discrete_diffusion.datasets.protein_tokenizer import protein_tokenizer
from discrete_diffusion.datasets.proteins import proteins, synthetic_proteins
from discrete_diffusion.datasets.qm9 import qm9
from discrete_diffusion.datasets.reverse_complement import ReverseComplement
from discrete_diffusion.datasets.reviews import review_polarity, reviews, sentences
from discrete_diffusion.datasets.row_report import RowChange, RowReport, TooManyRowsDroppedError, UnreadableStringsError
from discrete_diffusion.datasets.safe import safe_to_smiles, smiles_to_safe
from discrete_diffusion.datasets.safe_rows import safe_rows
from discrete_diffusion.datasets.selfies_rows import selfies_rows, selfies_to_smiles
from discrete_diffusion.datasets.selfies_tokenizer import selfies_tokenizer
from discrete_diffusion.datasets.sequences import SequenceData, decode, sequence_data
from discrete_diffusion.datasets.smiles_tokenizer import smiles_tokenizer, smiles_tokenizer_from_vocab
from discrete_diffusion.datasets.species10 import species10
from discrete_diffusion.datasets.species_distribution import SyntheticSpecies
from discrete_diffusion.datasets.stream import Stream
from discrete_diffusion.datasets.synthetic_species import synthetic_species
from discrete_diffusion.datasets.table import table
from discrete_diffusion.datasets.text8 import text8
from discrete_diffusion.datasets.word_tokenizer import word_tokenizer
from discrete_diffusion.datasets.zinc250k import zinc250k

__all__ = [
    "Augmentation",
    "CategoryLabel",
    "FittedCategoryLabel",
    "FittedJointLabel",
    "FittedValueLabel",
    "FragmentOrder",
    "Fragments",
    "HorizontalFlip",
    "JointLabel",
    "Label",
    "LabelRule",
    "Layout",
    "Padded",
    "PercentileLabel",
    "RandomCrop",
    "ReverseComplement",
    "RowChange",
    "RowReport",
    "SequenceData",
    "Stream",
    "SyntheticProteins",
    "SyntheticSpecies",
    "ThresholdLabel",
    "TooManyClassesError",
    "TooManyRowsDroppedError",
    "UnreachableDataError",
    "UnreachableTokenizerError",
    "UnreadableStringsError",
    "ValueLabel",
    "Wrapped",
    "amazon_polarity",
    "character_tokenizer",
    "cifar10",
    "decode",
    "digits",
    "dna_tokenizer",
    "image_folder",
    "label_from_dict",
    "letter_tokenizer",
    "lm1b",
    "load_label",
    "locate_files",
    "molecules",
    "moses",
    "openwebtext",
    "pixel_tokenizer",
    "pretrained_tokenizer",
    "prose",
    "protein_tokenizer",
    "proteins",
    "qm9",
    "read_fasta",
    "read_table",
    "review_polarity",
    "reviews",
    "safe_rows",
    "safe_to_smiles",
    "save_label",
    "selfies_rows",
    "selfies_to_smiles",
    "selfies_tokenizer",
    "sentences",
    "sequence_data",
    "smiles_to_safe",
    "smiles_tokenizer",
    "smiles_tokenizer_from_vocab",
    "species10",
    "synthetic_proteins",
    "synthetic_species",
    "table",
    "text8",
    "text8_tokenizer",
    "word_tokenizer",
    "zinc250k",
]
