"""How different the molecules of a set are: their fingerprints, their scaffolds."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

from discrete_diffusion.eval.metrics.molecules import valid_molecule

_ROWS = 2048  # of the matrix of similarities that is in memory at once


def internal_diversity(smiles: Iterable[str], power: float = 1.0, *, radius: int = 2, bits: int = 1024) -> float | None:
    """One minus the mean Tanimoto similarity of all pairs, each molecule with itself included; None for no molecules.

        IntDiv_p = 1 - (1 / n² · Σ_ij T(m_i, m_j)^p)^(1/p)

    with T of Morgan fingerprints (Polykovskiy et al., MOSES, Frontiers in Pharmacology 11, 565644, 2020; arXiv
    1811.12823). Repeats count: a set that repeats one molecule has diversity 0.

    Args:
        smiles: valid strings, with repeats.
        power: the exponent p; larger ones see near duplicates more.
        radius: bonds that a fingerprint looks around each atom.
        bits: length of a fingerprint.

    Raises:
        ValueError: if a string is not a valid SMILES, or `power` is not positive.
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
    """The Bemis-Murcko scaffold, as canonical SMILES without stereochemistry; None for a molecule without rings.

    What is left of a molecule without its side chains: its rings and what links them (Bemis and Murcko, Journal of
    Medicinal Chemistry 39, 2887-2893, 1996). RDKit's keeps atoms that are bonded to it by a double bond.

    Raises:
        ValueError: if the string is not a valid SMILES.
    """
    return MurckoScaffoldSmiles(mol=valid_molecule(smiles)) or None


def scaffolds(smiles: Iterable[str]) -> frozenset[str]:
    """The distinct scaffolds of molecules; those without rings have none.

    Raises:
        ValueError: if a string is not a valid SMILES.
    """
    return frozenset(found for found in map(scaffold, dict.fromkeys(smiles)) if found is not None)
