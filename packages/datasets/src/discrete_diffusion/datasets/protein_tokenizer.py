"""The tokenizer of proteins."""

from tokenizers import normalizers
from transformers import PreTrainedTokenizerFast

from discrete_diffusion.datasets.symbol_tokenizer import SPECIAL_TOKENS, symbol_tokenizer

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
"""The 20 standard amino acids, by their one-letter codes."""

OTHER_RESIDUES = "BJOUXZ"
"""Asx, Xle, pyrrolysine, selenocysteine, unknown and Glx (IUPAC-IUB 1984)."""


def protein_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token for each amino acid.

        <bos> <eos> <mask> <pad> <unk> A C D ... Y B J O U X Z    ids 0 to 30

    Letters of either case are the same token, and any other character, such as the stop `*` or a gap, is `<unk>`.
    """
    ids = {token: i for i, token in enumerate((*SPECIAL_TOKENS, *AMINO_ACIDS, *OTHER_RESIDUES))}
    tokenizer = symbol_tokenizer(ids, r"[\s\S]")
    upper = [normalizers.Replace(letter.lower(), letter) for letter in AMINO_ACIDS + OTHER_RESIDUES]
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(upper)
    return tokenizer
