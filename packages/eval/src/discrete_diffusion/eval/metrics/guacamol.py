"""Goal-directed objectives of GuacaMol, those of the PMO benchmark that need RDKit alone among them."""

import math
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import GraphDescriptors, rdMolDescriptors
from rdkit.Chem.Pharm2D import Generate, Gobbi_Pharm2D
from rdkit.Chem.rdFingerprintGenerator import (
    GetAtomPairGenerator,
    GetMorganFeatureAtomInvGen,
    GetMorganGenerator,
)

from discrete_diffusion.eval.metrics.molecules import crippen_logp, parse_smiles, qed, valid_molecule

Score = Callable[[Chem.Mol], float]
"""Function from a molecule to a number in [0, 1]."""

TARGETS = {
    "albuterol": "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1",
    "amlodipine": r"Clc1ccccc1C2C(=C(/N/C(=C2/C(=O)OCC)COCCN)C)\C(=O)OC",
    "aripiprazole": "Clc4cccc(N3CCN(CCCCOc2ccc1c(NC(=O)CC1)c2)CC3)c4Cl",
    "camphor": "CC1(C)C2CCC1(C)C(=O)C2",
    "celecoxib": "CC1=CC=C(C=C1)C1=CC(=NN1C1=CC=C(C=C1)S(N)(=O)=O)C(F)(F)F",
    "fexofenadine": "CC(C)(C(=O)O)c1ccc(cc1)C(O)CCCN2CCC(CC2)C(O)(c3ccccc3)c4ccccc4",
    "hop": "CCCOc1cc2ncnc(Nc3ccc4ncsc4c3)c2cc1S(=O)(=O)C(C)(C)C",
    "menthol": "CC(C)C1CCC(C)CC1O",
    "mestranol": "COc1ccc2[C@H]3CC[C@@]4(C)[C@@H](CC[C@@]4(O)C#C)[C@@H]3CCc2c1",
    "osimertinib": "COc1cc(N(C)CCN(C)C)c(NC(=O)C=C)cc1Nc2nccc(n2)c3cn(C)c4ccccc34",
    "perindopril": "O=C(OCC)C(NC(C(=O)N1C(C(=O)O)CC2CCCCC12)C)CCC",
    "ranolazine": "COc1ccccc1OCC(O)CN2CCN(CC(=O)Nc3c(C)cccc3C)CC2",
    "sildenafil": "CCCC1=NN(C2=C1N=C(NC2=O)C3=C(C=CC(=C3)S(=O)(=O)N4CCN(CC4)C)OCC)C",
    "sitagliptin": "Fc1cc(c(F)cc1F)CC(N)CC(=O)N3Cc2nnc(n2CC3)C(F)(F)F",
    "sitagliptin isomer": "NC(CC(=O)N1CCn2c(nnc2C(F)(F)F)C1)Cc1cc(F)c(F)cc1F",
    "tadalafil": "O=C1N(CC(N2C1CC3=C(C2C4=CC5=C(OCO5)C=C4)NC6=C3C=CC=C6)=O)C",
    "thiothixene": "CN(C)S(=O)(=O)c1ccc2Sc3ccccc3C(=CCCN4CCN(C)CC4)c2c1",
    "troglitazone": "Cc1c(C)c2OC(C)(COc3ccc(CC4SC(=O)NC4=O)cc3)CCc2c(C)c1O",
    "zaleplon": "O=C(C)N(CC)C1=CC=CC(C2=CC=NC3=C(C=NN23)C#N)=C1",
}
"""Molecules that the objectives compare with."""

QUINAZOLINE = "[#7]-c1n[c;h1]nc2[c;h1]c(-[#8])[c;h0][c;h1]c12"
"""Scaffold that `deco_hop` keeps and `scaffold_hop` replaces."""


def guacamol_score(smiles: str, task: str) -> float:
    """Return the score of a molecule in a goal-directed task, in [0, 1]; 0 for an invalid string.

    The tasks are those of the second version of GuacaMol (Brown et al., Journal of Chemical Information and Modeling
    59, 1096-1108, 2019; arXiv 1811.09621), under the names of PMO, with its molecules, fingerprints, modifiers and
    means. Similarities are Tanimoto similarities of counts: Morgan fingerprints of radius 2 (ECFP4) and 3 (ECFP6), of
    pharmacophoric features (FCFP4), atom pairs up to 10 bonds apart (AP) and two-dimensional pharmacophores (PHCO).

    Args:
        smiles: Any string.
        task: One of `GUACAMOL_TASKS`.

    Raises:
        ValueError: If there is no such task.
    """
    if task not in _TASKS:
        raise ValueError(f"Expected `task` to be one of {', '.join(GUACAMOL_TASKS)}, got {task!r}.")
    molecule = parse_smiles(smiles)
    return 0.0 if molecule is None else _score(task)(molecule)


# Modifiers, which map a number to [0, 1].


def _gaussian(x: float, mu: float, sigma: float) -> float:
    return math.exp(-0.5 * ((x - mu) / sigma) ** 2)


def _at_most(x: float, mu: float, sigma: float) -> float:
    return _gaussian(max(x, mu), mu, sigma)


def _at_least(x: float, mu: float, sigma: float) -> float:
    return _gaussian(min(x, mu), mu, sigma)


def _clipped(x: float, upper: float) -> float:
    return min(x / upper, 1.0)


# Means.


def _geometric(*scores: float) -> float:
    return math.exp(math.fsum(map(math.log, scores)) / len(scores)) if min(scores) > 0 else 0.0


def _arithmetic(*scores: float) -> float:
    return math.fsum(scores) / len(scores)


# Numbers of a molecule.


@cache
def _generator(kind: str) -> Any:
    if kind == "AP":
        return GetAtomPairGenerator(maxDistance=10)
    if kind == "FCFP4":
        return GetMorganGenerator(radius=2, atomInvariantsGenerator=GetMorganFeatureAtomInvGen())
    return GetMorganGenerator(radius={"ECFP4": 2, "ECFP6": 3}[kind])


def _fingerprint(molecule: Chem.Mol, kind: str) -> Any:
    if kind == "PHCO":
        with rdBase.BlockLogs():
            return Generate.Gen2DFingerprint(molecule, Gobbi_Pharm2D.factory)
    return _generator(kind).GetSparseCountFingerprint(molecule)


def _similarity(name: str, kind: str) -> Score:
    target = _fingerprint(_target(name), kind)
    return lambda molecule: float(DataStructs.TanimotoSimilarity(_fingerprint(molecule, kind), target))


def _target(name: str) -> Chem.Mol:
    return valid_molecule(TARGETS[name])


def _has(smarts: str) -> Callable[[Chem.Mol], bool]:
    pattern = Chem.MolFromSmarts(smarts)
    return lambda molecule: bool(molecule.HasSubstructMatch(pattern))


def _formula(formula: str) -> dict[str, int]:
    found = re.findall(r"([A-Z][a-z]?)(\d*)", formula)
    return {element: int(count or 1) for element, count in found}


def _isomer(formula: str) -> Score:
    """Return the geometric mean over the elements, with σ = 1, and over the number of atoms, with σ = 2."""
    counts = _formula(formula)
    total = sum(counts.values())

    def score(molecule: Chem.Mol) -> float:
        atoms = _formula(rdMolDescriptors.CalcMolFormula(molecule, separateIsotopes=False))
        scores = [_gaussian(atoms.get(element, 0), count, 1) for element, count in counts.items()]
        return _geometric(*scores, _gaussian(sum(atoms.values()), total, 2))

    return score


def _fluorine(molecule: Chem.Mol) -> int:
    return sum(atom.GetSymbol() == "F" for atom in molecule.GetAtoms())


_logp: Score = crippen_logp
_tpsa: Score = rdMolDescriptors.CalcTPSA


# Tasks. Each function returns the score of molecules, and computes what it needs of the targets once.


def _clipped_similarity(name: str, kind: str, upper: float = 1.0) -> Score:
    similarity = _similarity(name, kind)
    return lambda m: _clipped(similarity(m), upper)


def _median(one: str, other: str, kind: str) -> Score:
    first, second = _similarity(one, kind), _similarity(other, kind)
    return lambda m: _geometric(first(m), second(m))


def _osimertinib() -> Score:
    near, same = _similarity("osimertinib", "FCFP4"), _similarity("osimertinib", "ECFP6")
    return lambda m: _geometric(
        _clipped(near(m), 0.8), _at_most(same(m), 0.85, 0.1), _at_least(_tpsa(m), 100, 10), _at_most(_logp(m), 1, 1)
    )


def _fexofenadine() -> Score:
    near = _similarity("fexofenadine", "AP")
    return lambda m: _geometric(_clipped(near(m), 0.8), _at_least(_tpsa(m), 90, 10), _at_most(_logp(m), 4, 1))


def _ranolazine() -> Score:
    near = _similarity("ranolazine", "AP")
    return lambda m: _geometric(
        _clipped(near(m), 0.7), _at_least(_logp(m), 7, 1), _gaussian(_fluorine(m), 1, 1), _at_least(_tpsa(m), 95, 20)
    )


def _with_rings(name: str, rings: Callable[[Chem.Mol], int], count: int) -> Score:
    near = _similarity(name, "ECFP4")
    return lambda m: _geometric(near(m), _gaussian(rings(m), count, 0.5))


def _sitagliptin() -> Score:
    near, isomer = _similarity("sitagliptin", "ECFP4"), _isomer("C16H15F6N5O")
    logp, tpsa = _logp(_target("sitagliptin")), _tpsa(_target("sitagliptin"))
    return lambda m: _geometric(
        _gaussian(near(m), 0, 0.1), _gaussian(_logp(m), logp, 0.2), _gaussian(_tpsa(m), tpsa, 5), isomer(m)
    )


def _zaleplon() -> Score:
    near, isomer = _similarity("zaleplon", "ECFP4"), _isomer("C19H17N3O2")
    return lambda m: _geometric(near(m), isomer(m))


def _valsartan() -> Score:
    pattern, target = _has("CN(C=O)Cc1ccc(c2ccccc2)cc1"), _target("sitagliptin isomer")
    logp, tpsa, bertz = _logp(target), _tpsa(target), GraphDescriptors.BertzCT(target)
    return lambda m: _geometric(
        pattern(m),
        _gaussian(_logp(m), logp, 0.2),
        _gaussian(_tpsa(m), tpsa, 5),
        _gaussian(GraphDescriptors.BertzCT(m), bertz, 30),
    )


def _deco_hop() -> Score:
    near, keep = _similarity("hop", "PHCO"), _has(QUINAZOLINE)
    sulfone, thiazole = _has("CS([#6])(=O)=O"), _has("[#7]-c1ccc2ncsc2c1")
    return lambda m: _arithmetic(_clipped(near(m), 0.85), not sulfone(m), not thiazole(m), keep(m))


def _scaffold_hop() -> Score:
    near, avoid = _similarity("hop", "PHCO"), _has(QUINAZOLINE)
    keep = _has("[#6]-[#6]-[#6]-[#8]-[#6]~[#6]~[#6]~[#6]~[#6]-[#7]-c1ccc2ncsc2c1")
    return lambda m: _arithmetic(_clipped(near(m), 0.75), keep(m), not avoid(m))


_TASKS: dict[str, Callable[[], Score]] = {
    "albuterol_similarity": lambda: _clipped_similarity("albuterol", "FCFP4", 0.75),
    "amlodipine_mpo": lambda: _with_rings("amlodipine", rdMolDescriptors.CalcNumRings, 3),
    "aripiprazole_similarity": lambda: _clipped_similarity("aripiprazole", "ECFP4", 0.75),
    "celecoxib_rediscovery": lambda: _clipped_similarity("celecoxib", "ECFP4"),
    "deco_hop": _deco_hop,
    "fexofenadine_mpo": _fexofenadine,
    "isomers_c11h24": lambda: _isomer("C11H24"),
    "isomers_c7h8n2o2": lambda: _isomer("C7H8N2O2"),
    "isomers_c9h10n2o2pf2cl": lambda: _isomer("C9H10N2O2PF2Cl"),
    "median1": lambda: _median("camphor", "menthol", "ECFP4"),
    "median2": lambda: _median("tadalafil", "sildenafil", "ECFP6"),
    "mestranol_similarity": lambda: _clipped_similarity("mestranol", "AP", 0.75),
    "osimertinib_mpo": _osimertinib,
    "perindopril_mpo": lambda: _with_rings("perindopril", rdMolDescriptors.CalcNumAromaticRings, 2),
    "qed": lambda: qed,
    "ranolazine_mpo": _ranolazine,
    "scaffold_hop": _scaffold_hop,
    "sitagliptin_mpo": _sitagliptin,
    "thiothixene_rediscovery": lambda: _clipped_similarity("thiothixene", "ECFP4"),
    "troglitazone_rediscovery": lambda: _clipped_similarity("troglitazone", "ECFP4"),
    "valsartan_smarts": _valsartan,
    "zaleplon_mpo": _zaleplon,
}


@cache
def _score(task: str) -> Score:
    return _TASKS[task]()


GUACAMOL_TASKS: Sequence[str] = tuple(_TASKS)
"""Names of the goal-directed tasks."""

PMO_TASKS: Sequence[str] = tuple(name for name in _TASKS if name not in ("aripiprazole_similarity", "isomers_c11h24"))
"""The 20 tasks of PMO that need RDKit alone: all but `drd2`, `gsk3b` and `jnk3`, which are trained classifiers."""
