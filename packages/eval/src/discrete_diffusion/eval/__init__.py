"""Metrics and pictures for generated token sequences.

Names that need an optional dependency are imported on first use, so that the likelihoods and summaries work with numpy
and scipy alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from discrete_diffusion.eval.likelihood import Likelihood
from discrete_diffusion.eval.summary import ConfidenceInterval, Description, confidence_interval, describe

if TYPE_CHECKING:
    from .cost import CostPoint, draw_cost
    from .denoising import draw_denoising
    from .distribution import draw_distribution
    from .frontier import FrontierPoint, draw_frontier
    from .molecule_grid import draw_molecule_grid, molecule_image
    from .molecules import (
        MoleculeProperty,
        MoleculeReport,
        ReferenceMolecules,
        canonical_smiles,
        evaluate_molecules,
        property_values,
        qed,
        ring_count,
    )
    from .noise_levels import draw_noise_levels, write_noise_levels
    from .particle_weights import draw_particle_weights

__all__ = [
    "ConfidenceInterval",
    "CostPoint",
    "Description",
    "FrontierPoint",
    "Likelihood",
    "MoleculeProperty",
    "MoleculeReport",
    "ReferenceMolecules",
    "canonical_smiles",
    "confidence_interval",
    "describe",
    "draw_cost",
    "draw_denoising",
    "draw_distribution",
    "draw_frontier",
    "draw_molecule_grid",
    "draw_noise_levels",
    "draw_particle_weights",
    "evaluate_molecules",
    "molecule_image",
    "property_values",
    "qed",
    "ring_count",
    "write_noise_levels",
]

_FILES = {
    "CostPoint": "cost",
    "FrontierPoint": "frontier",
    "MoleculeProperty": "molecules",
    "MoleculeReport": "molecules",
    "ReferenceMolecules": "molecules",
    "canonical_smiles": "molecules",
    "draw_cost": "cost",
    "draw_denoising": "denoising",
    "draw_distribution": "distribution",
    "draw_frontier": "frontier",
    "draw_molecule_grid": "molecule_grid",
    "draw_noise_levels": "noise_levels",
    "draw_particle_weights": "particle_weights",
    "evaluate_molecules": "molecules",
    "molecule_image": "molecule_grid",
    "property_values": "molecules",
    "qed": "molecules",
    "ring_count": "molecules",
    "write_noise_levels": "noise_levels",
}
_EXTRAS = {"rdkit": "molecules", "matplotlib": "plots", "PIL": "plots"}


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_FILES[name]}", __name__), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            raise
        raise ModuleNotFoundError(
            f"`{name}` needs {missing}: install `discrete-diffusion-eval[{_EXTRAS[missing]}]`.", name=error.name
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
