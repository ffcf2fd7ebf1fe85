"""Metrics of molecules, against RDKit on each molecule."""

from itertools import product
from statistics import mean
from types import SimpleNamespace
from typing import Any

import datasets
import pytest
from omegaconf import OmegaConf
from rdkit import Chem, DataStructs, RDLogger
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

from discrete_diffusion.eval import qed, ring_count
from discrete_diffusion.evaluator.carried_data import CarriedData, MissingRowsError, with_rows
from discrete_diffusion.evaluator.domains.domain import Run, build_domain
from discrete_diffusion.evaluator.domains.molecules import Molecules, known_molecules
from discrete_diffusion.evaluator.point import Point

TRAINING = ["c1ccccc1", "C1CC1", *("C" * carbons + "O" for carbons in range(1, 19))]
GENERATED = ["C1=CC=CC=C1", "Cc1ccccc1", "OCC", "CCO", "C1CC", "", "C1CCC1N", "C1CCC1N"]
SELFIES = {
    "[C][=C][C][=C][C][=C][Ring1][=Branch1]": "C1=CC=CC=C1",
    "[C][C][O]": "CCO",
    "[O][C][C]": "OCC",
    "[N][C][C][O]": "NCCO",
    "[C]<mask>[O]": None,
}


def data(**columns: Any) -> Any:
    rows = datasets.Dataset.from_dict({"canonical_smiles": TRAINING, **columns})
    return SimpleNamespace(train=rows, column="canonical_smiles", label=None, values=None)


def read(string: str) -> str | None:
    return SELFIES.get(string)


def test_the_set_is_described_as_a_whole():
    outcome = Molecules(data())(GENERATED)
    numbers = outcome.numbers
    assert (numbers["generated"], numbers["valid"], numbers["unique"], numbers["novel"]) == (8, 6, 4, 2)
    assert outcome.novel == ("Cc1ccccc1", "NC1CCC1")
    # Toluene's scaffold is benzene, which is known; cyclobutane is not. Ethanol has none.
    assert (numbers["scaffolds"], numbers["novel_scaffolds"]) == (2, 1)
    generator = GetMorganGenerator(radius=2, fpSize=1024)
    RDLogger.DisableLog("rdApp.*")
    prints = [generator.GetFingerprint(one) for one in map(Chem.MolFromSmiles, GENERATED) if one and one.GetNumAtoms()]
    RDLogger.EnableLog("rdApp.*")
    assert len(prints) == 6
    similar = mean(DataStructs.TanimotoSimilarity(a, b) for a, b in product(prints, prints))
    assert numbers["internal_diversity"] == pytest.approx(1 - similar, abs=1e-6)
    assert 1 < float(numbers["mean_sa_score"] or 0) < 4
    assert numbers["frechet_descriptor_distance"] is None  # of six molecules


def test_training_molecules_are_at_no_distance_and_rings_are_far():
    metrics = Molecules(data())
    assert metrics(TRAINING).numbers["frechet_descriptor_distance"] == pytest.approx(0, abs=1e-6)
    assert metrics(TRAINING).numbers["novel_scaffolds"] == 0
    assert float(metrics(["C1CC1" + "C" * n for n in range(20)]).numbers["frechet_descriptor_distance"] or 0) > 1
    spread = Molecules(data(), property_rows=10)
    assert float(spread(TRAINING).numbers["frechet_descriptor_distance"] or 0) > 0.01
    assert spread(TRAINING).numbers["novel_scaffolds"] == 0  # those of all rows count, not of the ten


def test_nothing_valid_has_no_numbers():
    outcome = Molecules(data())(["C1CC", ""])
    assert outcome.novel == ()
    assert (outcome.numbers["scaffolds"], outcome.numbers["novel_scaffolds"]) == (0, 0)
    for name in ("internal_diversity", "mean_sa_score", "frechet_descriptor_distance", "novel_property_mean"):
        assert outcome.numbers[name] is None


def test_molecules_that_are_written_otherwise():
    rows = datasets.Dataset.from_dict({"selfies": [*SELFIES][:2], "qed": [0.25, 0.75]})
    source: Any = SimpleNamespace(train=rows, column="selfies", label=None, values=None)
    metrics = Molecules(source, read=read)
    assert metrics.training_values == [0.25, 0.75]
    outcome = metrics([*SELFIES, "[N][C][C][O]"])
    numbers = outcome.numbers
    assert (numbers["generated"], numbers["valid"], numbers["unique"], numbers["novel"]) == (6, 5, 3, 1)
    # Two spellings of ethanol are two strings, and the second is no training string.
    assert (numbers["unique_raw"], numbers["novel_raw"]) == (4, 2)
    assert (outcome.novel, outcome.values) == (("NCCO",), [qed("NCCO")])
    assert [row["canonical"] for row in outcome.samples] == ["c1ccccc1", "CCO", "CCO", "NCCO", None, "NCCO"]
    assert outcome.samples[2] == {
        "string": "[O][C][C]",
        "valid": True,
        "canonical": "CCO",
        "novel": False,
        "property": qed("CCO"),
    }
    assert metrics.accepts("[C][C][O]")
    assert not metrics.accepts("[C]<mask>[O]")
    assert not metrics.accepts("CCO")
    assert metrics.property("[N][C][C][O]") == qed("NCCO")
    of_selfies, of_smiles = (metrics.illustrate(one, (60, 60)) for one in ("[C][C][O]", "CCO"))
    assert of_selfies.tobytes() == of_smiles.tobytes()
    assert metrics.illustrate("[C]<mask>[O]", (60, 60)) is None


def test_a_property_of_ones_own_is_of_molecules():
    rows = datasets.Dataset.from_dict({"selfies": [*SELFIES][:2]})
    source: Any = SimpleNamespace(train=rows, column="selfies", label=None, values=None)
    metrics = Molecules(source, property=ring_count, read=read)
    assert (metrics.property_name, metrics.training_values) == ("ring_count", [1.0, 0.0])
    assert metrics(["[C][C][O]", "[C][=C][C][=C][C][=C][Ring1][=Branch1]"]).numbers["valid_property_mean"] == 0.5


@pytest.mark.parametrize("kind", ["molecules", "selfies"])
def test_every_kind_of_molecules_has_its_metrics_and_pictures(kind: str, tmp_path):
    if kind == "selfies":
        pytest.importorskip("selfies")
    rows = datasets.Dataset.from_dict({"text": [*SELFIES][:2] if kind == "selfies" else TRAINING})
    source: Any = SimpleNamespace(train=rows, column="text", label=None, values=None)
    auto = OmegaConf.create({"property": {"_target_": None, "_partial_": True}, "property_name": None})
    metrics = build_domain(auto, kind, source)
    outcome = metrics(["[N][C][C][O]", "[O]"] if kind == "selfies" else ["NCCO", "O"])
    assert outcome.novel == ("NCCO", "O")
    run = Run(Point("none", None, "unconditional", 2), 1, outcome)
    written = metrics.draw([run], tmp_path, chosen=run.condition, shown=2)
    assert {path.name for path in written} == {"molecules.png", "distribution.png"}
    assert all(path.stat().st_size > 1000 for path in written)


def test_carried_statistics_give_the_same_comparison_as_the_molecules(tmp_path):
    columns = {"qed": [qed(one) for one in TRAINING], "ring_count": [ring_count(one) for one in TRAINING]}
    rows = data(**columns)
    known_molecules(rows).save(tmp_path / "reference.safetensors")
    carried = Molecules(CarriedData(tmp_path / "reference.safetensors", None))
    metrics = Molecules(rows)
    samples = [*GENERATED, *TRAINING, *("C" * carbons + "N" for carbons in range(1, 19))]
    assert carried(samples) == metrics(samples)
    for name, value in metrics.training.items():
        assert carried.training[name] == pytest.approx(value, abs=0.02)
    content = (tmp_path / "reference.safetensors").read_bytes()
    assert not any(one.encode() in content for one in TRAINING if len(one) > 4)


def test_another_property_of_carried_molecules_has_no_training_values(tmp_path):
    known_molecules(data()).save(tmp_path / "reference.safetensors")
    carried = Molecules(CarriedData(tmp_path / "reference.safetensors", None), property=ring_count)
    assert carried.training["mean"] is None
    assert carried(["C1CCC1"]).values == [1.0]
    with pytest.raises(MissingRowsError, match=r"^`data_labels` needs the training rows"):
        with_rows(CarriedData(tmp_path, None), "data_labels")
