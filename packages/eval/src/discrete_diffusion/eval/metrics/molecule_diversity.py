"""Diversity of a set of molecules: fingerprints and scaffolds."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

from discrete_diffusion.eval.metrics.molecules import valid_molecule

_ROWS = 2048  # rows of the similarity matrix in memory at once


def internal_diversity(smiles: Iterable[str], power: float = 1.0, *, radius: int = 2, bits: int = 1024) -> float | None:
    """Return one minus the mean Tanimoto similarity of all pairs of molecules, each with itself included.

        IntDiv_p = 1 - (1 / n² · Σ_ij T(m_i, m_j)^p)^(1/p)

    where T compares Morgan fingerprints (Polykovskiy et al., MOSES, Frontiers in Pharmacology 11, 565644, 2020; arXiv
    1811.12823). Repeats count: a set that repeats one molecule has diversity 0.

    Args:
        smiles: Valid strings, with repeats.
        power: Exponent p; a larger one gives near duplicates more weight.
        radius: Radius of a fingerprint around each atom, in bonds.
        bits: Length of a fingerprint.

    Returns:
        The diversity, or None if there are no molecules.

    Raises:
        ValueError: If a string is not a valid SMILES, or `power` is not positive.
    """
    if not power > 0:
        raise ValueError(f"Expected `power` > 0, got {power}.")
    counts = Counter(smiles)
    if not counts:
        return None
    generator = GetMorganGenerator(radius=radius, fpSize=bits)
    prints = np.stack([generator.GetFingerprintAsNumPy(valid_molecule(one)) for one in counts]).astype(np.float32)
    weights = np.array(list(counts.values()), dtype=np.float64) / counts.total()
    sizes = prints.sum(1)
    mean = 0.0
    for start in range(0, len(prints), _ROWS):
        rows = slice(start, start + _ROWS)
        shared = prints[rows] @ prints.T
        similarity = shared / (sizes[rows, None] + sizes - shared)
        mean += float(weights[rows] @ similarity.astype(np.float64) ** power @ weights)
    return 1.0 - mean ** (1.0 / power)


def scaffold(smiles: str) -> str | None:
    """Return the Bemis-Murcko scaffold as canonical SMILES without stereochemistry; None for molecules without rings.

    The scaffold is the rings of a molecule and the linkers between them, without side chains (Bemis and Murcko, Journal
    of Medicinal Chemistry 39, 2887-2893, 1996). RDKit also keeps atoms that are double-bonded to the scaffold.

    Args:
        smiles: Valid string.

    Raises:
        ValueError: If the string is not a valid SMILES.
    """
    return MurckoScaffoldSmiles(mol=valid_molecule(smiles)) or None


def scaffolds(smiles: Iterable[str]) -> frozenset[str]:
    """Return the distinct scaffolds of molecules; molecules without rings have none.

    Args:
        smiles: Valid strings.

    Raises:
        ValueError: If a string is not a valid SMILES.
    """
    return frozenset(found for found in map(scaffold, dict.fromkeys(smiles)) if found is not None)
