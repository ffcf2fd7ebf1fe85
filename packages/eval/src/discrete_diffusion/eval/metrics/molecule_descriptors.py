"""Fréchet distance of the RDKit descriptors of two sets of molecules."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
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
"""Names of the descriptors in RDKit."""


def descriptors(smiles: Iterable[str]) -> Float[np.ndarray, "n 14"]:
    """Return the descriptors of each molecule, in the order of `DESCRIPTORS` and in the units of RDKit.

    Args:
        smiles: Valid strings.

    Raises:
        ValueError: If a string is not a valid SMILES.
    """
    compute = Properties(list(DESCRIPTORS)).ComputeProperties
    strings = list(smiles)
    known = {one: np.array(compute(valid_molecule(one))) for one in dict.fromkeys(strings)}
    return np.array([known[one] for one in strings]).reshape(len(strings), len(DESCRIPTORS))


def gaussian_frechet_distance(
    mean: Float[np.ndarray, " d"],
    covariance: Float[np.ndarray, "d d"],
    mean2: Float[np.ndarray, " d"],
    covariance2: Float[np.ndarray, "d d"],
) -> float:
    """Return the squared Fréchet (2-Wasserstein) distance of two Gaussians.

        d² = |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁^½ Σ₂ Σ₁^½)^½)

    (Dowson and Landau, Journal of Multivariate Analysis 12, 450-455, 1982). The last trace equals the sum of the
    singular values of Σ₁^½ Σ₂^½, which is defined for singular covariances too.
    """
    cross = np.linalg.svd(_root(covariance) @ _root(covariance2), compute_uv=False).sum()
    distance = ((mean - mean2) ** 2).sum() + np.trace(covariance) + np.trace(covariance2) - 2.0 * cross
    return max(float(distance), 0.0)


@dataclass(frozen=True)
class DescriptorReference:
    """Gaussian fitted to the descriptors of a set of molecules.

    Args:
        scale: Standard deviation of each descriptor.
        mean: Means, in units of `scale`.
        covariance: Covariances, in units of `scale`.
    """

    scale: Float[np.ndarray, " d"]
    mean: Float[np.ndarray, " d"]
    covariance: Float[np.ndarray, "d d"]

    @classmethod
    def of(cls, smiles: Iterable[str]) -> "DescriptorReference":
        """Fit the Gaussian to molecules. A descriptor without spread keeps its unit.

        Args:
            smiles: Valid strings.

        Raises:
            ValueError: If a string is not a valid SMILES, or there are fewer than 2.
        """
        values = descriptors(smiles)
        if len(values) < 2:
            raise ValueError(f"Expected at least 2 reference molecules, got {len(values)}.")
        spread = values.std(0, ddof=1)
        scale = np.where(spread > 1e-9, spread, 1.0)
        return cls(scale, values.mean(0) / scale, np.cov(values / scale, rowvar=False))


def frechet_descriptor_distance(smiles: Iterable[str], reference: DescriptorReference) -> float | None:
    """Return the squared Fréchet distance of Gaussians fitted to the descriptors of molecules and of a reference.

    Each descriptor is divided by its standard deviation in the reference, so a shift of one descriptor by one standard
    deviation has distance 1. The distance is defined like the Fréchet ChemNet distance (Preuer et al., arXiv
    1803.09518), with named descriptors in place of the activations of a network; their values are not comparable. It is
    biased upwards for few molecules, so compare equal numbers.

    Args:
        smiles: Valid strings, with repeats.
        reference: Reference molecules.

    Returns:
        The distance, or None if there are no more molecules than descriptors.

    Raises:
        ValueError: If a string is not a valid SMILES.
    """
    values = descriptors(smiles) / reference.scale
    if len(values) <= len(DESCRIPTORS):
        return None
    return gaussian_frechet_distance(values.mean(0), np.cov(values, rowvar=False), reference.mean, reference.covariance)


def _root(covariance: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
