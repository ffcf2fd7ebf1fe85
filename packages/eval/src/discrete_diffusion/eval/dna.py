"""What can be said of one sequence of DNA."""

import math

LETTERS = frozenset("ACGTN")


def is_dna(sequence: str) -> bool:
    """Whether a string is made of A, C, G, T and N alone, and is not empty."""
    return bool(sequence) and LETTERS.issuperset(sequence)


def gc_content(sequence: str) -> float:
    """The share of G and C among the letters A, C, G and T, in [0, 1]; NaN where there are none.

    (n_G + n_C) / (n_A + n_C + n_G + n_T)
    """
    strong, weak = (sum(map(sequence.count, pair)) for pair in ("CG", "AT"))
    return strong / (strong + weak) if strong + weak else math.nan
