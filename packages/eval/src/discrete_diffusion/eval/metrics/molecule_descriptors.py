"""How far the molecules of one set are, as a whole, from those of another."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from rdkit.Chem.rdMolDescriptors import Properties

from discrete_diffusion.eval.metrics.molecules import valid_molecule

DESCRIPTORS = (
    "NumHeavyAtoms",
    "amw",  # average molecular weight
    "CrippenClogP",
    "tpsa",  # topological polar surface area
    "labuteASA",  # approximate surface area
    "NumHBA",  # acceptors of hydrogen bonds
    "NumHBD",  # donors
    "NumRotatableBonds",
    "NumHeteroatoms",
    "FractionCSP3",  # share of carbons that are sp3
    "NumRings",
    "NumAromaticRings",
    "NumHeterocycles",
    "hallKierAlpha",
)
"""RDKit's names of the numbers that a molecule is described by."""


def descriptors(smiles: Iterable[str]) -> np.ndarray:
    """The descriptors of molecules, (n, 14) in the order of `DESCRIPTORS` and their own units.

    Raises:
        ValueError: If a string is not a valid SMILES.
    """
    compute = Properties(list(DESCRIPTORS)).ComputeProperties
    strings = list(smiles)
    known = {one: np.array(compute(valid_molecule(one))) for one in dict.fromkeys(strings)}
    return np.array([known[one] for one in strings]).reshape(len(strings), len(DESCRIPTORS))


def frechet_distance(mean: np.ndarray, covariance: np.ndarray, mean2: np.ndarray, covariance2: np.ndarray) -> float:
    """The squared Fréchet (2-Wasserstein) distance of two Gaussians.

        d² = |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁^½ Σ₂ Σ₁^½)^½)

    (Dowson and Landau, Journal of Multivariate Analysis 12, 450-455, 1982). The last trace is the sum of the singular
    values of Σ₁^½ Σ₂^½, which is defined for singular covariances too.
    """
    cross = np.linalg.svd(_root(covariance) @ _root(covariance2), compute_uv=False).sum()
    distance = ((mean - mean2) ** 2).sum() + np.trace(covariance) + np.trace(covariance2) - 2.0 * cross
    return max(float(distance), 0.0)


@dataclass(frozen=True)
class DescriptorReference:
    """What the descriptors of a set of molecules are like: their standard deviation, and in units of it the rest."""

    scale: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, smiles: Iterable[str]) -> "DescriptorReference":
        """Fit to molecules. A descriptor that is the same for all is kept in its own unit.

        Raises:
            ValueError: If a string is not a valid SMILES, or there are fewer than 2.
        """
        values = descriptors(smiles)
        if len(values) < 2:
            raise ValueError(f"Expected at least 2 molecules to compare with, got {len(values)}.")
        spread = values.std(0, ddof=1)
        scale = np.where(spread > 1e-9, spread, 1.0)
        return cls(scale, values.mean(0) / scale, np.cov(values / scale, rowvar=False))


def frechet_descriptor_distance(smiles: Iterable[str], reference: DescriptorReference) -> float | None:
    """The squared Fréchet distance of Gaussians fitted to the descriptors of molecules, in units of the reference.

    Each descriptor is divided by its standard deviation in the reference: 1 is a standard deviation's shift of one
    descriptor. It is what the Fréchet ChemNet distance (Preuer et al., arXiv 1803.09518) is with named descriptors in
    the place of a network's activations, and its numbers cannot be compared with that one's. It is biased upwards where
    molecules are few, so compare at equal numbers of them. None for no more molecules than descriptors.

    Args:
        smiles: valid strings, with repeats.

    Raises:
        ValueError: If a string is not a valid SMILES.
    """
    values = descriptors(smiles) / reference.scale
    if len(values) <= len(DESCRIPTORS):
        return None
    return frechet_distance(values.mean(0), np.cov(values, rowvar=False), reference.mean, reference.covariance)


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
