"""How hard a molecule is to make, as far as that can be told from its parts."""

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

from rdkit import Chem, RDConfig

from discrete_diffusion.eval.molecules import valid_molecule


def sa_score(molecule: "str | Chem.Mol") -> float:
    """Synthetic accessibility score, from 1 (easy to make) to 10 (hard).

    The frequency in PubChem of the molecule's circular fragments, less penalties for size, stereocenters, spiro and
    bridgehead atoms and large rings (Ertl and Schuffenhauer, Journal of Cheminformatics 1:8, 2009). It is the authors'
    implementation, which RDKit ships as a contribution, and which says where it departs from the paper. It was made
    for molecules of the size of drugs.

    Raises:
        ValueError: If the string is not a valid SMILES.
        ModuleNotFoundError: If this RDKit was installed without its contributions.
    """
    return float(_scorer().calculateScore(valid_molecule(molecule)))


@cache
def _scorer() -> ModuleType:
    path = Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
    if not path.is_file():
        raise ModuleNotFoundError(f"`sa_score` needs RDKit's contribution SA_Score, but there is no {path}.")
    spec = importlib.util.spec_from_file_location("sascorer", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
