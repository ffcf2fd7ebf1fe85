"""Fragments that generated molecules must hold."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from discrete_diffusion.datasets.safe import attachment_points, write_fragments

if TYPE_CHECKING:
    from rdkit.Chem import Atom, Mol


@dataclass(frozen=True)
class Fragments:
    """Fragments of molecules that a model of SAFE strings completes.

    An attachment point, `[*]`, also `[1*]` or `[*:1]`, is a single bond to an atom that the model adds:

        O=C(N[*])c1ccc([*])cc1     one fragment, a scaffold to decorate
        c1ccccc1[*].[*]N1CCOCC1    several fragments, to be linked
        c1ccccc1[*]                one point, to be extended
        c1ccccc1                   no point: the model extends one atom that has a hydrogen, any of them

    Attributes:
        smiles: SMILES of the fragments.
        templates: Beginnings of SAFE strings, whose attachment points the rest must close, with a gap `[*]` for the
            rest. One, or one for each place that an attachment point could have where `smiles` has none.

    Raises:
        ValueError: If `smiles` is not SMILES, an attachment point has another than one single bond, one of several
            fragments has no attachment point, or there is no atom with a hydrogen.
        ImportError: If RDKit is not installed.
    """

    smiles: str
    templates: tuple[str, ...] = field(init=False)
    _pattern: "Mol" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            from rdkit import Chem, rdBase
        except ImportError as error:
            raise ImportError("`Fragments` needs RDKit: install `discrete-diffusion-datasets[rdkit]`.") from error

        with rdBase.BlockLogs():
            molecule = Chem.MolFromSmiles(self.smiles)
        if molecule is None or not molecule.GetNumHeavyAtoms():
            raise ValueError(f"Expected SMILES with attachment points `[*]`, got {self.smiles!r}.")
        points = attachment_points(molecule)
        for point in points:
            bonds = point.GetBonds()
            single = len(bonds) == 1 and bonds[0].GetBondType() == Chem.BondType.SINGLE
            if not single or not bonds[0].GetOtherAtom(point).GetAtomicNum():
                raise ValueError(f"Expected attachment points `[*]` with one single bond, got {self.smiles!r}.")
        parts = Chem.GetMolFrags(molecule)
        if len(parts) > 1 and not all({point.GetIdx() for point in points} & set(part) for part in parts):
            raise ValueError(f"Expected an attachment point `[*]` in each of several fragments, got {self.smiles!r}.")
        starts = [molecule] if points else list(_with_a_point(molecule))
        if not starts:
            raise ValueError(f"Expected an atom with a hydrogen or an attachment point `[*]`, got {self.smiles!r}.")
        canonical = sorted({Chem.MolToSmiles(start) for start in starts})
        templates = tuple(f"{write_fragments(Chem.MolFromSmiles(start))}.[*]" for start in canonical)
        object.__setattr__(self, "templates", templates)
        object.__setattr__(self, "_pattern", _pattern(molecule, points))

    def molecule(self, string: str) -> str | None:
        """Return the canonical SMILES of a string if it is one molecule that holds the fragments, otherwise None.

        Atoms without an attachment point have no other neighbors than in their fragment, unless there is no attachment
        point at all. Stereochemistry is not compared.

        Args:
            string: SAFE, or any SMILES.
        """
        from rdkit import Chem, rdBase

        with rdBase.BlockLogs():
            molecule = Chem.MolFromSmiles(string)
        if molecule is None or not molecule.HasSubstructMatch(self._pattern):
            return None
        smiles = Chem.MolToSmiles(molecule)
        return None if "." in smiles else smiles


def _with_a_point(molecule: "Mol") -> "Iterator[Mol]":
    """Yield the molecule with an attachment point in place of a hydrogen of one atom, for each atom that has one."""
    from rdkit import Chem

    for atom in molecule.GetAtoms():
        if atom.GetTotalNumHs():
            whole = Chem.AddHs(molecule, onlyOnAtoms=[atom.GetIdx()])
            whole.GetAtomWithIdx(molecule.GetNumAtoms()).SetAtomicNum(0)
            yield Chem.RemoveHs(whole)


def _pattern(molecule: "Mol", points: "list[Atom]") -> "Mol":
    """Return the query for the fragments without their attachment points."""
    from rdkit import Chem

    settings: Any = Chem.AdjustQueryParameters.NoAdjustments()
    settings.adjustDegree = bool(points)
    settings.adjustDegreeFlags = Chem.ADJUST_IGNORENONE
    pattern = Chem.RWMol(Chem.AdjustQueryProperties(molecule, settings))
    for index in sorted((point.GetIdx() for point in points), reverse=True):
        pattern.RemoveAtom(index)
    return pattern.GetMol()
