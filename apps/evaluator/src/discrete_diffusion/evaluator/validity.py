"""Validity of a string by the kind of data, without training data."""

from collections.abc import Callable
from functools import partial


def validity(kind: str) -> Callable[[str], str | None] | None:
    """Return the function from a string to its canonical form, None if it is invalid; None for a kind without rules.

    Molecules are valid if RDKit reads them, DNA and proteins if all letters belong to their alphabet.
    """
    # RDKit takes a second to import, and other kinds of data do not need it.
    if kind == "molecules":
        from discrete_diffusion.eval import canonical_smiles

        return canonical_smiles
    if kind == "selfies":
        from discrete_diffusion.datasets import selfies_to_smiles
        from discrete_diffusion.eval import canonical_smiles

        return lambda string: None if (smiles := selfies_to_smiles(string)) is None else canonical_smiles(smiles)
    if kind in _LETTERS:
        return partial(_spelled, _LETTERS[kind])
    return None


_LETTERS = {"dna": frozenset("ACGTN"), "proteins": frozenset("ACDEFGHIKLMNPQRSTVWY")}


def _spelled(letters: frozenset[str], string: str) -> str | None:
    return string if string and letters.issuperset(string) else None
