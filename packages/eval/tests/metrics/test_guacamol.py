import math
from collections.abc import Mapping

import pytest

pytest.importorskip("rdkit")

from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import AllChem, Descriptors, rdMolDescriptors
from rdkit.Chem.Pharm2D import Generate, Gobbi_Pharm2D

from discrete_diffusion.eval import GUACAMOL_TASKS, PMO_TASKS, guacamol_score
from discrete_diffusion.eval.metrics.guacamol import TARGETS

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
BIPHENYL = "c1ccc(-c2ccccc2)cc1"
MOLECULES = [ASPIRIN, BIPHENYL, "OCC", "CN(C=O)Cc1ccc(-c2ccccc2)cc1", TARGETS["sitagliptin"], TARGETS["ranolazine"]]


def counts(smiles: str, kind: str) -> Mapping[int, int]:
    """The fingerprints by the functions that GuacaMol calls, which RDKit has since replaced."""
    molecule = Chem.MolFromSmiles(smiles)
    with rdBase.BlockLogs():
        if kind == "AP":
            found = AllChem.GetAtomPairFingerprint(molecule, maxLength=10)
        else:
            found = AllChem.GetMorganFingerprint(molecule, int(kind[-1]) // 2, useFeatures=kind[0] == "F")
    return found.GetNonzeroElements()


def tanimoto(smiles: str, target: str, kind: str) -> float:
    one, other = counts(smiles, kind), counts(TARGETS[target], kind)
    keys = {*one, *other}
    smaller = sum(min(one.get(key, 0), other.get(key, 0)) for key in keys)
    return smaller / sum(max(one.get(key, 0), other.get(key, 0)) for key in keys)


def bell(x: float, mu: float, sigma: float) -> float:
    return math.exp(-((x - mu) ** 2) / (2 * sigma**2))


def root(*scores: float) -> float:
    return math.prod(scores) ** (1 / len(scores))


def logp(smiles: str) -> float:
    return Descriptors.MolLogP(Chem.MolFromSmiles(smiles))


def tpsa(smiles: str) -> float:
    return Descriptors.TPSA(Chem.MolFromSmiles(smiles))


def bertz(smiles: str) -> float:
    return Descriptors.BertzCT(Chem.MolFromSmiles(smiles))


def formula_score(smiles: str, formula: Mapping[str, int]) -> float:
    symbols = [atom.GetSymbol() for atom in Chem.AddHs(Chem.MolFromSmiles(smiles)).GetAtoms()]
    scores = [bell(symbols.count(element), count, 1) for element, count in formula.items()]
    return root(*scores, bell(len(symbols), sum(formula.values()), 2))


def test_names() -> None:
    assert len(GUACAMOL_TASKS) == 22
    assert len(PMO_TASKS) == 20
    assert set(PMO_TASKS) < set(GUACAMOL_TASKS)
    with pytest.raises(ValueError, match=r"Expected `task` to be one of albuterol_similarity, .*, got 'drd2'\."):
        guacamol_score("CCO", "drd2")


@pytest.mark.parametrize("task", GUACAMOL_TASKS)
def test_range_and_invalid_strings(task: str) -> None:
    assert guacamol_score("C1CC", task) == guacamol_score("", task) == guacamol_score("C C", task) == 0.0
    for smiles in MOLECULES:
        assert 0.0 <= guacamol_score(smiles, task) <= 1.0
    assert guacamol_score(ASPIRIN, task) == pytest.approx(guacamol_score("O=C(C)Oc1c(cccc1)C(O)=O", task))


@pytest.mark.parametrize("name", ["celecoxib", "troglitazone", "thiothixene", "aripiprazole", "albuterol", "mestranol"])
def test_similarity(name: str) -> None:
    kind = {"albuterol": "FCFP4", "mestranol": "AP"}.get(name, "ECFP4")
    rediscovery = name in ("celecoxib", "troglitazone", "thiothixene")
    task, upper = (f"{name}_rediscovery", 1.0) if rediscovery else (f"{name}_similarity", 0.75)
    assert guacamol_score(TARGETS[name], task) == 1.0
    for smiles in MOLECULES:
        assert guacamol_score(smiles, task) == pytest.approx(min(tanimoto(smiles, name, kind) / upper, 1.0))


def test_isomers_by_hand() -> None:
    # C7H8N2O2 has 19 atoms. Ethanol, C2H6O, misses 5 C, 2 H, 2 N, 1 O and 10 atoms, with σ = 2 for the last.
    assert guacamol_score("CCO", "isomers_c7h8n2o2") == pytest.approx(math.exp(-(25 + 4 + 4 + 1 + 10**2 / 4) / 2 / 5))
    assert guacamol_score("Nc1ccc(O)cc1C(N)=O", "isomers_c7h8n2o2") == 1.0
    assert guacamol_score("CCCCC(C)C(C)CCC", "isomers_c11h24") == 1.0
    # Decane misses CH2.
    assert guacamol_score("C" * 10, "isomers_c11h24") == pytest.approx(math.exp(-(1 + 4 + 3**2 / 4) / 2 / 3))
    assert guacamol_score("[2H]C" + "C" * 10, "isomers_c11h24") == 1.0
    # Methane misses 8 C, 6 H, 2 N, 2 O, 1 P, 2 F, 1 Cl and 22 atoms.
    assert guacamol_score("C", "isomers_c9h10n2o2pf2cl") == pytest.approx(
        math.exp(-(64 + 36 + 4 + 4 + 1 + 4 + 1 + 22**2 / 4) / 2 / 8)
    )


@pytest.mark.parametrize("smiles", MOLECULES)
def test_objectives_of_many_properties(smiles: str) -> None:
    molecule = Chem.MolFromSmiles(smiles)
    fluorine = smiles.count("F")
    expected = {
        "osimertinib_mpo": root(
            min(tanimoto(smiles, "osimertinib", "FCFP4") / 0.8, 1),
            bell(max(tanimoto(smiles, "osimertinib", "ECFP6"), 0.85), 0.85, 0.1),
            bell(min(tpsa(smiles), 100), 100, 10),
            bell(max(logp(smiles), 1), 1, 1),
        ),
        "fexofenadine_mpo": root(
            min(tanimoto(smiles, "fexofenadine", "AP") / 0.8, 1),
            bell(min(tpsa(smiles), 90), 90, 10),
            bell(max(logp(smiles), 4), 4, 1),
        ),
        "ranolazine_mpo": root(
            min(tanimoto(smiles, "ranolazine", "AP") / 0.7, 1),
            bell(min(logp(smiles), 7), 7, 1),
            bell(fluorine, 1, 1),
            bell(min(tpsa(smiles), 95), 95, 20),
        ),
        "perindopril_mpo": root(
            tanimoto(smiles, "perindopril", "ECFP4"), bell(rdMolDescriptors.CalcNumAromaticRings(molecule), 2, 0.5)
        ),
        "amlodipine_mpo": root(
            tanimoto(smiles, "amlodipine", "ECFP4"), bell(rdMolDescriptors.CalcNumRings(molecule), 3, 0.5)
        ),
        "sitagliptin_mpo": root(
            bell(tanimoto(smiles, "sitagliptin", "ECFP4"), 0, 0.1),
            bell(logp(smiles), logp(TARGETS["sitagliptin"]), 0.2),
            bell(tpsa(smiles), tpsa(TARGETS["sitagliptin"]), 5),
            formula_score(smiles, {"C": 16, "H": 15, "F": 6, "N": 5, "O": 1}),
        ),
        "zaleplon_mpo": root(
            tanimoto(smiles, "zaleplon", "ECFP4"), formula_score(smiles, {"C": 19, "H": 17, "N": 3, "O": 2})
        ),
        "median1": root(tanimoto(smiles, "camphor", "ECFP4"), tanimoto(smiles, "menthol", "ECFP4")),
        "median2": root(tanimoto(smiles, "tadalafil", "ECFP6"), tanimoto(smiles, "sildenafil", "ECFP6")),
    }
    assert {task: guacamol_score(smiles, task) for task in expected} == pytest.approx(expected, abs=1e-9)


def test_objectives_at_their_targets() -> None:
    # Similar, and too similar: exp(-0.5 · (0.15 / 0.1)²). Osimertinib has TPSA 87.55 and logP 4.51.
    smiles = TARGETS["osimertinib"]
    assert (tpsa(smiles), logp(smiles)) == pytest.approx((87.55, 4.5098), abs=1e-4)
    parts = [1.5**2, ((100 - 87.55) / 10) ** 2, 3.5098**2]
    assert guacamol_score(smiles, "osimertinib_mpo") == pytest.approx(math.exp(-sum(parts) / 8), abs=1e-5)
    # Perindopril has no aromatic ring, 2 / 0.5 = 4 standard deviations off; amlodipine has 2 of 3 rings.
    assert guacamol_score(TARGETS["perindopril"], "perindopril_mpo") == pytest.approx(math.exp(-(4**2) / 4))
    assert guacamol_score(TARGETS["amlodipine"], "amlodipine_mpo") == pytest.approx(math.exp(-(2**2) / 4))
    # Sitagliptin, C16H15F6N5O, has every property and similarity 1, 10 standard deviations off.
    assert guacamol_score(TARGETS["sitagliptin"], "sitagliptin_mpo") == pytest.approx(math.exp(-(10**2) / 8))
    # Zaleplon, C17H15N5O: 2 C, 2 H, 2 N and 1 O off, and 38 of 41 atoms.
    assert guacamol_score(TARGETS["zaleplon"], "zaleplon_mpo") == pytest.approx(
        math.sqrt(math.exp(-(4 + 4 + 4 + 1 + 3**2 / 4) / 2 / 5))
    )


def test_valsartan_smarts() -> None:
    target = "NC(CC(=O)N1CCn2c(nnc2C(F)(F)F)C1)Cc1cc(F)c(F)cc1F"
    assert guacamol_score(target, "valsartan_smarts") == 0.0  # all properties, not the pattern
    smiles = "CCN(C=O)Cc1ccc(-c2ccccc2C(F)(F)C(=O)NCC(N)=O)cc1"
    assert Chem.MolFromSmiles(smiles).HasSubstructMatch(Chem.MolFromSmarts("CN(C=O)Cc1ccc(c2ccccc2)cc1"))
    expected = root(
        1,
        bell(logp(smiles), logp(target), 0.2),
        bell(tpsa(smiles), tpsa(target), 5),
        bell(bertz(smiles), bertz(target), 30),
    )
    assert expected > 0
    assert guacamol_score(smiles, "valsartan_smarts") == pytest.approx(expected)


def test_hops() -> None:
    start = TARGETS["hop"]
    # The start has the scaffold and both decorations: two of four, and with the decoration two of three.
    assert guacamol_score(start, "deco_hop") == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert guacamol_score(start, "scaffold_hop") == pytest.approx((1 + 1 + 0) / 3)
    prints = [Generate.Gen2DFingerprint(Chem.MolFromSmiles(one), Gobbi_Pharm2D.factory) for one in (ASPIRIN, start)]
    near = DataStructs.TanimotoSimilarity(*prints)
    # Aspirin has neither decoration, and not the scaffold.
    assert guacamol_score(ASPIRIN, "deco_hop") == pytest.approx((near / 0.85 + 1 + 1 + 0) / 4)
    assert guacamol_score(ASPIRIN, "scaffold_hop") == pytest.approx((near / 0.75 + 0 + 1) / 3)


def test_qed() -> None:
    assert guacamol_score(ASPIRIN, "qed") == pytest.approx(0.5501, abs=1e-3)
