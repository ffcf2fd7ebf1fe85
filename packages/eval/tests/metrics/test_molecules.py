import pytest

pytest.importorskip("rdkit")

from discrete_diffusion.eval import (
    ReferenceMolecules,
    canonical_smiles,
    evaluate_molecules,
    property_values,
    qed,
    ring_count,
)
from discrete_diffusion.eval.metrics import molecules

GENERATED = [
    "CCO",  # ethanol
    "OCC",  # ethanol again, spelled differently
    "CCO",  # and repeated
    "C1CC",  # a ring that never closes
    "C(C",  # a parenthesis that never closes
    "C(C)(C)(C)(C)C",  # a carbon of five bonds: parses, does not sanitize
    "c1cccc1",  # an aromatic ring that cannot be kekulized
    "",
    "C C",  # RDKit alone reads methane, named "C"
    "c1ccccc1",  # benzene, in training as C1=CC=CC=C1
    "N",  # ammonia, in training as it is
    "C#N",
]
TRAINING = ["C1=CC=CC=C1", "N", "O"]


def test_counts_by_hand() -> None:
    report = evaluate_molecules(GENERATED, TRAINING)
    assert report.valid == ("CCO", "OCC", "CCO", "c1ccccc1", "N", "C#N")
    assert report.unique == ("CCO", "c1ccccc1", "N", "C#N")
    assert report.novel == ("CCO", "C#N")
    assert report.unique_raw == ("CCO", "OCC", "c1ccccc1", "N", "C#N")
    assert report.novel_raw == ("CCO", "OCC", "c1ccccc1", "C#N")
    row = report.row()
    assert (row["generated"], row["valid"], row["novel"], row["novel_raw"]) == (12, 6, 2, 4)
    assert (row["valid_fraction"], row["unique_fraction"]) == (0.5, pytest.approx(1 / 3))


def test_prepared_reference_gives_the_same() -> None:
    reference = ReferenceMolecules.of([*TRAINING, *TRAINING, "not a molecule("])
    assert reference.canonical == {"c1ccccc1", "N", "O"}
    assert evaluate_molecules(iter(GENERATED), reference) == evaluate_molecules(GENERATED, TRAINING)


@pytest.mark.parametrize("generated", [[], ["C1CC", "("]])
def test_report_without_valid_molecules(generated: list[str]) -> None:
    report = evaluate_molecules(generated, TRAINING)
    assert report.valid == report.unique == report.novel == ()
    assert report.fractions()["valid"] == (0.0 if generated else None)
    assert property_values(report.novel, qed) == []


def test_each_distinct_string_is_canonicalized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def count(smiles: str) -> str | None:
        calls.append(smiles)
        return canonical_smiles(smiles)

    monkeypatch.setattr(molecules, "canonical_smiles", count)
    evaluate_molecules(["CCO", "OCC", "CCO", "(", "("], ReferenceMolecules(frozenset(), frozenset()))
    assert sorted(calls) == ["(", "CCO", "OCC"]


def test_parse_errors_are_silent_inside_the_call_only(capfd: pytest.CaptureFixture[str]) -> None:
    from rdkit import Chem

    assert canonical_smiles("C1CC") is None
    assert capfd.readouterr().err == ""
    Chem.MolFromSmiles("C1CC")
    assert "unclosed ring" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("smiles", "rings"),
    # Cubane has six faces; bonds - atoms + 1 is five. QM9's labels count faces.
    [("CCO", 0), ("c1ccccc1", 1), ("C1CC2CC12", 2), ("C12C3C4C1C5C2C3C45", 6)],
)
def test_ring_count(smiles: str, rings: int) -> None:
    assert ring_count(smiles) == rings


def test_properties_take_molecules_and_strings() -> None:
    from rdkit import Chem

    # Published with QM9: methane 0.359785, ammonia 0.397555.
    assert qed("C") == pytest.approx(0.359785, abs=1e-5)
    assert qed(Chem.MolFromSmiles("N")) == pytest.approx(0.397555, abs=1e-5)
    for function in (qed, ring_count):
        with pytest.raises(ValueError, match="valid SMILES"):
            function("C1CC")


def test_own_property_is_called_once_for_each_string() -> None:
    calls: list[str] = []

    def length(smiles: str) -> float:
        calls.append(smiles)
        return float(len(smiles))

    assert property_values(["CC", "C", "CC"], length) == [2.0, 1.0, 2.0]
    assert calls == ["CC", "C"]
