"""Two properties of molecules that serve as labels."""

from rdkit import Chem
from rdkit.Chem import QED


def molecule_properties(smiles: str) -> tuple[float, int]:
    """Computes the quantitative estimate of drug-likeness and the number of rings of a SMILES string.

    QED is in [0, 1] (Bickerton et al., Nature Chemistry 4, 90-98, 2012). Rings are those of RDKit's symmetrized
    smallest set of smallest rings, as in the QM9 files in use: cages count a few more than their cyclomatic number.

    Raises:
        ValueError: if RDKit cannot read the string.
    """
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        raise ValueError(f"Expected a valid SMILES string, got {smiles!r}.")
    return QED.qed(molecule), molecule.GetRingInfo().NumRings()
