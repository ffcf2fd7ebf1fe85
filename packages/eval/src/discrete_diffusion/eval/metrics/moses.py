"""Distribution metrics of the MOSES benchmark."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8
from rdkit import Chem
from rdkit.Chem.FilterCatalog import FilterCatalog, FilterCatalogParams
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.Chem.rdMolDescriptors import Properties
from rdkit.Chem.Scaffolds.MurckoScaffold import GetScaffoldForMol
from scipy.stats import wasserstein_distance

from discrete_diffusion.eval.metrics.molecules import canonical_smiles, crippen_logp, qed, sa_score, valid_molecule

if TYPE_CHECKING:
    from discrete_diffusion.eval.metrics.chemnet import ChemNetReference

_WEIGHT = Properties(["amw"])  # of the natural mixture of isotopes

PROPERTIES: Mapping[str, Callable[[Chem.Mol], float]] = {
    "logP": crippen_logp,
    "SA": sa_score,
    "QED": qed,
    "weight": lambda molecule: _WEIGHT.ComputeProperties(molecule)[0],
}
"""Properties whose distributions MOSES compares."""

ATOMS = frozenset({"C", "N", "S", "O", "F", "Cl", "Br", "H"})
"""Elements that pass the filters."""

_ROWS, _COLUMNS = 1024, 8192  # block of the similarity matrix in memory at once


@dataclass(frozen=True, eq=False)
class MosesReference:
    """Statistics of a set of molecules that the metrics compare, computed once for any number of comparisons.

    Args:
        molecules: The molecules, with repeats.
        fingerprints: Morgan fingerprints of radius 2 with 1,024 bits.
        fragments: Number of each BRICS fragment.
        scaffolds: Number of each Bemis-Murcko scaffold with two or more rings.
        properties: Values of logP, synthetic accessibility (SA), QED and weight.
    """

    molecules: Sequence[str]
    fingerprints: UInt8[np.ndarray, "n 1024"]
    fragments: Mapping[str, int]
    scaffolds: Mapping[str, int]
    properties: Mapping[str, Float[np.ndarray, " n"]]

    @classmethod
    def of(cls, smiles: Iterable[str]) -> "MosesReference":
        """Compute them; about 3 ms for each distinct molecule.

        Args:
            smiles: Valid strings, with repeats.

        Raises:
            ValueError: If a string is not a valid SMILES.
        """
        strings = list(smiles)
        distinct = {one: i for i, one in enumerate(dict.fromkeys(strings))}
        counts = Counter(strings)
        generator = GetMorganGenerator(radius=2, fpSize=1024)
        prints = np.zeros((len(distinct), 1024), dtype=np.uint8)
        values = {name: np.zeros(len(distinct)) for name in PROPERTIES}
        fragments: Counter[str] = Counter()
        scaffolds: Counter[str] = Counter()
        for one, i in distinct.items():
            molecule = valid_molecule(one)
            prints[i] = generator.GetFingerprintAsNumPy(molecule)
            for name, function in PROPERTIES.items():
                values[name][i] = function(molecule)
            for fragment in Chem.MolToSmiles(Chem.FragmentOnBRICSBonds(molecule)).split("."):
                fragments[fragment] += counts[one]
            scaffold = GetScaffoldForMol(molecule)
            if scaffold.GetRingInfo().NumRings() >= 2:
                scaffolds[Chem.MolToSmiles(scaffold)] += counts[one]
        rows = [distinct[one] for one in strings]
        return cls(strings, prints[rows], fragments, scaffolds, {name: found[rows] for name, found in values.items()})

    @cached_property
    def chemnet(self) -> "ChemNetReference | None":
        """Gaussian of the ChemNet activations, computed on first use; None if there are fewer than two molecules.

        Raises:
            ModuleNotFoundError: If `fcd_torch` is not installed.
        """
        # By its public name, which names the extra that is missing.
        from discrete_diffusion.eval import ChemNetReference

        return ChemNetReference.of(self.molecules) if len(self.molecules) > 1 else None


def moses_metrics(
    samples: Iterable[str],
    test: "Iterable[str] | MosesReference",
    test_scaffolds: "Iterable[str] | MosesReference | None" = None,
    training: Iterable[str] | None = None,
    mcf: Sequence[str] | None = None,
    fcd: bool = False,
) -> dict[str, float | None]:
    """Return the metrics of MOSES, by the names of its reference implementation.

    `valid` is the share of samples that are valid; all others compare the canonical forms of the valid samples, repeats
    included (Polykovskiy et al., Frontiers in Pharmacology 11, 565644, 2020; arXiv 1811.12823):

    - `unique@1000`, `unique@10000`: share of distinct ones among the first k, or among all if there are fewer;
    - `SNN/Test`: mean similarity to the nearest test molecule;
    - `Frag/Test`, `Scaf/Test`: cosine similarity of the counts of BRICS fragments, and of scaffolds with two or more
      rings;
    - `IntDiv`, `IntDiv2`: 1 - mean_i (mean_j T(m_i, m_j)^p)^(1/p) for p = 1 and 2, as the reference implementation
      computes it. The paper's formula takes the root after both means: for p = 2 that is `internal_diversity(..., 2)`,
      a smaller number;
    - `logP`, `SA`, `QED`, `weight`: Wasserstein distance of the distribution to that of the test molecules;
    - `Filters`: share that passes `passes_filters`. RDKit contains the PAINS rules and not the medicinal chemistry
      filters of MOSES: without `mcf` the column is `Filters/PAINS`, which is larger than the published number;
    - `SNN/TestSF`, `Frag/TestSF`, `Scaf/TestSF` with `test_scaffolds`, and `Novelty`, the share of distinct molecules
      that are not in `training`, with that;
    - `FCD/Test` and, with `test_scaffolds`, `FCD/TestSF`, with `fcd`: see `frechet_chemnet_distance`.

    Args:
        samples: Generated strings.
        test: Valid test molecules. For several comparisons, `MosesReference.of` them.
        test_scaffolds: Valid molecules of the scaffold test set.
        training: Canonical SMILES of the training data.
        mcf: SMARTS patterns of the medicinal chemistry filters, with explicit hydrogens.
        fcd: Whether to compute the Fréchet ChemNet distances, which takes the package `fcd_torch`.

    Returns:
        The metrics; None where there is nothing to compare.

    Raises:
        ModuleNotFoundError: If `fcd` is true and `fcd_torch` is not installed.
        ValueError: If a test molecule is not a valid SMILES, or a pattern is not valid.
    """
    strings = list(samples)
    forms = {one: canonical_smiles(one) for one in dict.fromkeys(strings)}
    valid = [form for one in strings if (form := forms[one]) is not None]
    own = MosesReference.of(valid)
    known = {"Test": _reference(test)}
    if test_scaffolds is not None:
        known["TestSF"] = _reference(test_scaffolds)
    numbers: dict[str, float | None] = {"valid": len(valid) / len(strings) if strings else None}
    for k in (1000, 10000):
        numbers[f"unique@{k}"] = len(set(valid[:k])) / len(valid[:k]) if valid else None
    for suffix, reference in known.items():
        if fcd:
            numbers[f"FCD/{suffix}"] = _chemnet_distance(own, reference)
        numbers[f"SNN/{suffix}"] = nearest_neighbor_similarity(own, reference)
        numbers[f"Frag/{suffix}"] = cosine_similarity(own.fragments, reference.fragments)
        numbers[f"Scaf/{suffix}"] = cosine_similarity(own.scaffolds, reference.scaffolds)
    numbers["IntDiv"], numbers["IntDiv2"] = _diversity(own.fingerprints, 1.0), _diversity(own.fingerprints, 2.0)
    passed = {one: passes_filters(one, mcf or ()) for one in dict.fromkeys(valid)}
    share = sum(passed[one] for one in valid) / len(valid) if valid else None
    numbers["Filters/PAINS" if mcf is None else "Filters"] = share
    for name in PROPERTIES:
        values, others = own.properties[name], known["Test"].properties[name]
        numbers[name] = float(wasserstein_distance(values, others)) if len(values) and len(others) else None
    if training is not None:
        distinct = set(valid)
        numbers["Novelty"] = len(distinct.difference(training)) / len(distinct) if distinct else None
    return numbers


def nearest_neighbor_similarity(samples: MosesReference, reference: MosesReference) -> float | None:
    """Return the mean Tanimoto similarity of the samples to the nearest reference molecule; None if a set is empty."""
    if not (len(samples.fingerprints) and len(reference.fingerprints)):
        return None
    nearest = np.zeros(len(samples.fingerprints), dtype=np.float32)
    for rows, similarity in _similarities(samples.fingerprints, reference.fingerprints):
        nearest[rows] = np.maximum(nearest[rows], similarity.max(1))
    return float(nearest.mean(dtype=np.float64))


def cosine_similarity(counts: Mapping[str, int], others: Mapping[str, int]) -> float | None:
    """Return the cosine of the angle between two vectors of counts; None if one is empty.

    Args:
        counts: Number of each item.
        others: Number of each item in the other set.
    """
    if not (counts and others):
        return None
    shared = sum(count * others.get(item, 0) for item, count in counts.items())
    norms = [sum(count * count for count in one.values()) ** 0.5 for one in (counts, others)]
    return shared / (norms[0] * norms[1])


def passes_filters(smiles: str, mcf: Sequence[str] = ()) -> bool:
    """Return whether a molecule passes the filters of MOSES.

    It passes if it has no charged atom, no ring of 8 or more atoms, no elements but C, N, S, O, F, Cl, Br and H, none
    of the PAINS substructures (Baell and Holloway, Journal of Medicinal Chemistry 53, 2010) in RDKit's catalog, and
    none of `mcf`.

    Args:
        smiles: Valid string.
        mcf: SMARTS patterns, such as the medicinal chemistry filters of MOSES, matched with explicit hydrogens.

    Raises:
        ValueError: If the string is not a valid SMILES, or a pattern is not valid.
    """
    molecule = valid_molecule(smiles)
    if any(len(ring) >= 8 for ring in molecule.GetRingInfo().AtomRings()):
        return False
    if any(atom.GetFormalCharge() != 0 or atom.GetSymbol() not in ATOMS for atom in molecule.GetAtoms()):
        return False
    if _pains().HasMatch(molecule):
        return False
    explicit = Chem.AddHs(molecule)
    return not any(explicit.HasSubstructMatch(_pattern(one)) for one in mcf)


def _chemnet_distance(samples: MosesReference, reference: MosesReference) -> float | None:
    from discrete_diffusion.eval import frechet_chemnet_distance

    one, other = samples.chemnet, reference.chemnet
    return None if one is None or other is None else frechet_chemnet_distance(one, other)


def _reference(molecules: "Iterable[str] | MosesReference") -> MosesReference:
    return molecules if isinstance(molecules, MosesReference) else MosesReference.of(molecules)


def _similarities(
    prints: UInt8[np.ndarray, "n b"], others: UInt8[np.ndarray, "m b"]
) -> Iterable[tuple[slice, Float[np.ndarray, "r c"]]]:
    """Yield the Tanimoto similarities in blocks, with the rows of each."""
    for column in range(0, len(others), _COLUMNS):
        right = others[column : column + _COLUMNS].astype(np.float32)
        for row in range(0, len(prints), _ROWS):
            left = prints[row : row + _ROWS].astype(np.float32)
            shared = left @ right.T
            yield slice(row, row + _ROWS), shared / (left.sum(1)[:, None] + right.sum(1) - shared)


def _diversity(prints: UInt8[np.ndarray, "n b"], power: float) -> float | None:
    if not len(prints):
        return None
    sums = np.zeros(len(prints))
    for rows, similarity in _similarities(prints, prints):
        sums[rows] += (similarity.astype(np.float64) ** power).sum(1)
    return 1.0 - float(np.mean((sums / len(prints)) ** (1.0 / power)))


@cache
def _pains() -> FilterCatalog:
    parameters = FilterCatalogParams()
    parameters.AddCatalog(FilterCatalogParams.FilterCatalogs.PAINS)
    return FilterCatalog(parameters)


@cache
def _pattern(smarts: str) -> Chem.Mol:
    pattern = Chem.MolFromSmarts(smarts)
    if pattern is None:
        raise ValueError(f"Expected a SMARTS pattern, got {smarts!r}.")
    return pattern
