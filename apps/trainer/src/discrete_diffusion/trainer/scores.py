"""What can be said at a glance of a few samples."""

from collections.abc import Sequence

from discrete_diffusion.eval import evaluate_molecules


def molecule_validity(strings: Sequence[str]) -> dict[str, float]:
    """The share that RDKit reads as a molecule."""
    return {"valid": len(evaluate_molecules(strings, []).valid) / len(strings)}


def distinct(strings: Sequence[str]) -> dict[str, float]:
    """The share of strings that are not repetitions."""
    return {"distinct": len(set(strings)) / len(strings)}
