"""Molecules as SAFE, SMILES whose fragments stand one after the other.

A SAFE string (Noutahi et al., "Gotta be SAFE: a new framework for molecular design", arXiv 2310.10773) is a SMILES
string: single bonds between rings and chains are cut by the BRICS rules, each fragment is written by itself, and the
two ends of a cut bond carry the same ring-closure number. A reader of SMILES joins them again:

    CCOc1ccccc1   ->   c1%10ccccc1.C%11C.O%11%10

Here attachment points are numbered from %10 on, in the order in which they appear, above the ring closures inside
fragments, so that a number tells one from the other in every molecule.
"""

import re
from typing import TYPE_CHECKING

from discrete_diffusion.datasets.smiles_tokenizer import smiles_symbols

if TYPE_CHECKING:
    from rdkit.Chem import Atom, Mol

_FIRST, _LAST = 10, 99
_POINT = re.compile(r"\[(\d+)\*\]")
_MARK = re.compile(r"\{(\d+)\}")


def smiles_to_safe(smiles: str) -> str | None:
    """Return a molecule as SAFE; None if it cannot be written.

    The string depends on the molecule alone. Larger fragments come first. A molecule without a bond to cut is one
    fragment. Reading the string gives the molecule back: charges, isotopes, and the stereochemistry that canonical
    SMILES keep.

    Cannot be written: strings that are not SMILES, dummy atoms such as `[*]`, more than 90 cut bonds, and the rare
    molecules whose stereochemistry RDKit reads differently from the fragments.
    """
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
        canonical = "" if molecule is None else Chem.MolToSmiles(molecule)
        if not canonical or "*" in canonical:
            return None
        try:
            written = write_fragments(Chem.MolFromSmiles(canonical))
        except ValueError:
            return None
    return written if safe_to_smiles(written) == canonical else None


def safe_to_smiles(string: str) -> str | None:
    """Return the canonical SMILES of a SAFE string or of any SMILES; None if it is no molecule."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(string) if string else None
        return None if molecule is None else Chem.MolToSmiles(molecule)


def write_fragments(molecule: "Mol") -> str:
    """Write a molecule as SAFE; a dummy atom of degree 1 is an attachment point whose other end is missing.

    Raises:
        ValueError: If there are too many attachment points.
    """
    from rdkit import Chem

    cut = Chem.Mol(molecule)
    points = attachment_points(cut)
    for i, point in enumerate(points, 1):
        point.SetIsotope(i)
        point.SetAtomMapNum(0)
    bonds = _bonds_to_cut(molecule)
    if bonds:
        first = len(points) + 1
        cut = Chem.FragmentOnBonds(cut, bonds, dummyLabels=[(i, i) for i in range(first, first + len(bonds))])
    parts = [_write(part) for part in Chem.GetMolFrags(cut, asMols=True, sanitizeFrags=False)]
    return _numbered(".".join(text for _, text in sorted(parts, key=lambda part: -part[0])))


def attachment_points(molecule: "Mol") -> "list[Atom]":
    """Return the dummy atoms of a molecule."""
    from rdkit.Chem import rdqueries

    return list(molecule.GetAtomsMatchingQuery(rdqueries.AtomNumEqualsQueryAtom(0)))


def _bonds_to_cut(molecule: "Mol") -> list[int]:
    """Return the indices of the bonds that BRICS cuts: single ones outside rings and away from E/Z double bonds."""
    from rdkit import Chem
    from rdkit.Chem import BRICS

    directed = {
        end
        for bond in molecule.GetBonds()
        if bond.GetStereo() != Chem.BondStereo.STEREONONE
        for end in (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    }
    found = []
    for ends, _ in BRICS.FindBRICSBonds(molecule):
        bond = molecule.GetBondBetweenAtoms(*ends)
        real = all(molecule.GetAtomWithIdx(end).GetAtomicNum() for end in ends)
        if real and bond.GetBondType() == Chem.BondType.SINGLE and not directed & set(ends):
            found.append(bond.GetIdx())
    return sorted(found)


def _write(fragment: "Mol") -> tuple[int, str]:
    """Return the number of heavy atoms of a fragment, and its SMILES with `{i}` for the attachment point i."""
    from rdkit import Chem

    points = attachment_points(fragment)
    roots = [neighbor.GetIdx() for point in points for neighbor in point.GetNeighbors() if neighbor.GetAtomicNum()]
    smiles = Chem.MolToSmiles(fragment, rootedAtAtom=min(roots, default=-1))
    return fragment.GetNumHeavyAtoms() - len(points), _as_closures(smiles)


def _as_closures(smiles: str) -> str:
    """Write the attachment points `[i*]` of a fragment as `{i}` behind the ring closures of their atoms.

    A point that passes n branches on its way there makes n transpositions of the neighbors, so that an odd n reverses
    the chirality mark of the atom.
    """
    pieces: list[str] = []
    branches: dict[int, int] = {}
    stack: list[int] = []
    current = -1
    for symbol in smiles_symbols(smiles):
        if symbol == "(":
            stack.append(current)
            pieces.append(symbol)
        elif symbol == ")":
            current = stack.pop()
            if pieces[-1] == "(":  # it held an attachment point alone
                pieces.pop()
            else:
                pieces.append(symbol)
        elif (point := _POINT.fullmatch(symbol)) or symbol[-1].isdigit():
            bond = pieces.pop() if pieces[-1] in "-=#:/\\" else ""
            if point and branches[current] % 2:
                pieces[current] = re.sub("@+", lambda mark: "@" * (3 - len(mark[0])), pieces[current], count=1)
            pieces[current] += bond + (f"{{{point[1]}}}" if point else symbol)
        elif symbol in "-=#:/\\":
            pieces.append(symbol)
        else:
            if current >= 0:
                branches[current] += 1
            current = len(pieces)
            branches[current] = 0
            pieces.append(symbol)
    return "".join(pieces)


def _numbered(text: str) -> str:
    """Give the attachment points `{i}` numbers from %10 on, or above higher ring closures of the fragments.

    Raises:
        ValueError: If there are too many attachment points.
    """
    points = list(dict.fromkeys(_MARK.findall(text)))
    first = max([_FIRST, *(1 + int(used) for used in re.findall(r"%(\d\d)", text))])
    if first + len(points) - 1 > _LAST:
        raise ValueError(f"Expected at most {_LAST - first + 1} attachment points, got {len(points)}.")
    numbers = {point: f"%{first + i}" for i, point in enumerate(points)}
    return _MARK.sub(lambda mark: numbers[mark[1]], text)
