"""Quick scores of a few samples."""

from collections.abc import Sequence

from discrete_diffusion.eval import evaluate_molecules


def molecule_validity(strings: Sequence[str]) -> dict[str, float]:
    """Return the fraction of valid molecules."""
    return {"valid": len(evaluate_molecules(strings, []).valid) / len(strings)}


def distinct(strings: Sequence[str]) -> dict[str, float]:
    """Return the fraction of distinct strings."""
    return {"distinct": len(set(strings)) / len(strings)}
