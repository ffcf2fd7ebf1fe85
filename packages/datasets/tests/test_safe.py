"""SAFE strings: round trips of molecules, and open attachment points of fragments."""

import re

import datasets
import pytest

from discrete_diffusion.datasets import (
    Fragments,
    decode,
    safe_rows,
    safe_to_smiles,
    sequence_data,
    smiles_to_safe,
    smiles_tokenizer,
)
from discrete_diffusion.datasets.safe import _as_closures, _numbered

chem = pytest.importorskip("rdkit.Chem")

MOLECULES = [
    "C",
    "CCO",
    "CC(=O)Oc1ccccc1C(=O)O",
    "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
    "CN1CCC[C@H]1c1cccnc1",
    "C[C@H](N)C(=O)N[C@@H](Cc1ccccc1)C(=O)OC",
    "C[C@](O)(OC)C(=O)NC[C@@](F)(NC)C(=O)OC",
    "O[C@H]1CC[C@@H](OC)CC1",
    "F/C=C/c1ccccc1",
    "CC/C=C\\CNC(=O)C",
    "CO/N=C(\\C)c1ccccc1",
    "C[N+](C)(C)CC(=O)[O-]",
    "[Na+].CC(=O)[O-]",
    "CC(=O)[O-].C[NH2+]Cc1ccccc1",
    "c1ccc2c(c1)[nH]c1ccccc12",
    "Cn1c(=O)c2c(ncn2C)n(C)c1=O",
    "[13CH3]OC(=O)c1cc[nH]c1",
    "c1ccccc1-c1ccccc1-n1cccc1",
    "CN1CCN(CC1)c1nc2cc(Cl)ccc2[nH]c2ccccc12",
    "CN1C[C@H](C[S+]([O-])CC(=O)O)C[C@@H]2c3cccc4[nH]cc(C[C@H]12)c34",
    "CC1=C2C(=O)[C@H](O)[C@@]3(C)CC[C@H](OC(C)=O)[C@](C)(C3C2(C)CC1)OC(=O)c1ccccc1",
    "C1CC2CC3CC1CC(C2)C3OC(=O)NC12CC3CC(CC(C3)C1)C2",
]
FULLERENE = (
    "c12c3c4c5c1c1c6c7c2c2c8c3c3c9c4c4c%10c5c5c1c1c6c6c%11c7c2c2c7c8c3c3c8c9c4c4c9c%10c5c5c1c1c6c6c%11c2c2c7c3c3c8c4c4"
    "c9c5c1c1c6c2c3c41"
)


@pytest.mark.parametrize("smiles", [*MOLECULES, FULLERENE])
def test_a_molecule_is_read_back(smiles):
    safe = smiles_to_safe(smiles)
    assert safe_to_smiles(safe) == chem.CanonSmiles(smiles)
    (other,) = chem.MolToRandomSmilesVect(chem.MolFromSmiles(smiles), 1, randomSeed=1)
    assert smiles_to_safe(other) == safe
    assert "".join(smiles_tokenizer([safe]).tokenize(safe)) == safe


def test_all_generated_molecules_are_read_back(small):
    safe = [smiles_to_safe(one) for one in small["canonical_smiles"]]
    assert [safe_to_smiles(one) for one in safe] == small["canonical_smiles"][:]
    assert sum("." in one for one in safe) > 100


@pytest.mark.parametrize(
    ("smiles", "safe"),
    [
        ("CCOc1ccccc1", "c1%10ccccc1.C%11C.O%11%10"),
        ("CCO", "CCO"),
    ],
)
def test_larger_fragments_come_first_and_points_are_numbered_in_order(smiles, safe):
    assert smiles_to_safe(smiles) == safe


def test_points_are_numbered_above_the_ring_closures_of_a_fragment():
    assert _numbered("C%12CC%12{7}.C{7}{3}.O{3}") == "C%12CC%12%13.C%13%14.O%14"
    assert _numbered("C1CC1{7}.C{7}{3}.O{3}") == "C1CC1%10.C%10%11.O%11"


@pytest.mark.parametrize("smiles", ["", "C1CC", "C(", "C[*]", "[1*]CC", "CC<pad>", "OCC" + "(=O)NCC" * 60])
def test_what_cannot_be_written(smiles):
    assert smiles_to_safe(smiles) is None


@pytest.mark.parametrize(
    ("written", "closed"),
    [
        ("C[C@H]([1*])F", "C[C@H]{1}F"),
        ("C[C@H](F)[1*]", "C[C@@H]{1}(F)"),
        ("C[C@@](F)(Cl)[1*]", "C[C@@]{1}(F)(Cl)"),
        ("C[C@@](F)([2*])[1*]", "C[C@@]{2}{1}(F)"),
        ("C[C@]1([3*])CC1[4*]", "C[C@]1{3}CC1{4}"),
        ("F/C=C/[1*]", "F/C=C/{1}"),
        ("FC(=C(/[1*])Cl)", "FC(=C/{1}Cl)"),
    ],
)
def test_points_move_behind_the_ring_closures_and_keep_the_chirality(written, closed):
    assert _as_closures(written) == closed
    # The other end of every point is its dummy atom, now isolated.
    text = re.sub(r"\{(\d)\}", r"%5\1", closed) + "".join(f".[{i}*]%5{i}" for i in re.findall(r"\{(\d)\}", closed))
    assert chem.CanonSmiles(text) == chem.CanonSmiles(written)


def test_rows_have_a_column_of_safe_and_what_cannot_be_written_is_counted(small):
    rows = safe_rows(lambda: small)
    assert rows.column_names == [*small.column_names, "safe"]
    data = sequence_data(rows, "safe", tokenizer=smiles_tokenizer)
    assert decode(data.tokenizer, data.train["input_ids"][:]) == data.train.with_format(None)["safe"][:]
    rows = safe_rows(lambda: datasets.Dataset.from_dict({"smiles": ["CCO", "C[*]", "CC", "CCC"]}), column="smiles")
    report = sequence_data(rows, "safe", tokenizer=smiles_tokenizer, max_dropped=0.5, validation=0.5).report
    assert report.describe() == "1 of 4 rows (25%) dropped: cannot be written as SAFE ('C[*]') (row 2)"


@pytest.mark.parametrize(
    ("smiles", "templates"),
    [
        ("O=C(N[*])c1ccc([*])cc1", ("c1%10ccc%11cc1.C%12%10=O.N%13%12.[*]",)),
        ("c1ccccc1[*].[1*]N1CCOCC1", ("c1%10ccccc1.N1%11CCOCC1.[*]",)),
        ("C[C@H](F)[*:1]", ("[C@@H]%10(C)F.[*]",)),
        ("*C(C)(C)C", ("C%10(C)(C)C.[*]",)),
        ("c1cc[nH]c1", ("c1%10cc[nH]c1.[*]", "c1%10ccc[nH]1.[*]", "n1%10cccc1.[*]")),
    ],
)
def test_templates_leave_the_attachment_points_open(smiles, templates):
    fragments = Fragments(smiles)
    assert tuple(fragments.templates) == templates


def test_a_template_keeps_the_configuration_of_its_atoms():
    (template,) = Fragments("C[C@H](F)[*]").templates
    assert chem.CanonSmiles(template.replace("[*]", "Cl%10")) == chem.CanonSmiles("C[C@H](F)Cl")
    closed = {chem.CanonSmiles(re.sub(r"\[\*\]", f"Cl{_open(one)}", one)) for one in Fragments("C[C@H](F)O").templates}
    assert closed == {chem.CanonSmiles(one) for one in ("ClC[C@H](F)O", "C[C@](Cl)(F)O", "C[C@H](F)OCl")}


def _open(template):
    """The number of the one attachment point that a template leaves open."""
    numbers = re.findall(r"%\d\d", template)
    (number,) = {number for number in numbers if numbers.count(number) == 1}
    return number


@pytest.mark.parametrize(
    ("fragments", "string", "molecule"),
    [
        ("c1ccccc1[*].[*]N1CCOCC1", "c1ccccc1N1CCOCC1", "c1ccc(N2CCOCC2)cc1"),
        ("c1ccccc1[*].[*]N1CCOCC1", "c1%10ccccc1.N1%11CCOCC1.C%10%11", "c1ccc(CN2CCOCC2)cc1"),
        ("c1ccccc1[*].[*]N1CCOCC1", "c1%10ccccc1.N1%11CCOCC1.C%10.C%11", None),  # two molecules
        ("c1ccccc1[*].[*]N1CCOCC1", "Cc1ccc(cc1)CN1CCOCC1", None),  # a further substituent
        ("c1ccccc1[*]", "c1ccc2ccccc2c1", None),
        ("c1ccccc1[*]", "Cc1ccccc1", "Cc1ccccc1"),
        ("c1ccccc1", "c1ccc2ccccc2c1", "c1ccc2ccccc2c1"),
        ("c1ccccc1", "C1CCCCC1C", None),
        ("c1ccccc1[*]", "c1%10ccccc1.C%11", None),
        ("c1ccccc1[*]", "", None),
    ],
)
def test_a_molecule_holds_the_fragments_or_is_none(fragments, string, molecule):
    assert Fragments(fragments).molecule(string) == molecule


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("", r"Expected SMILES with attachment points `\[\*\]`, got ''"),
        ("C1CC", r"Expected SMILES with attachment points `\[\*\]`, got 'C1CC'"),
        ("[*]", r"Expected SMILES with attachment points `\[\*\]`"),
        ("C=[*]", r"Expected attachment points `\[\*\]` with one single bond, got 'C=\[\*\]'"),
        ("C[*]C", r"with one single bond, got 'C\[\*\]C'"),
        ("[*][*].C[*]", "with one single bond"),
        ("CC.C[*]", r"Expected an attachment point `\[\*\]` in each of several fragments"),
        ("FC(F)(F)F", r"Expected an atom with a hydrogen or an attachment point `\[\*\]`"),
    ],
)
def test_what_is_no_fragment_is_refused(smiles, message):
    with pytest.raises(ValueError, match=message):
        Fragments(smiles)
