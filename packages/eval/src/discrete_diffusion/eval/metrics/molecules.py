"""Validity, uniqueness, novelty and properties of molecules."""

import importlib.util
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from rdkit import Chem, RDConfig, rdBase
from rdkit.Chem import QED, rdMolDescriptors

MoleculeProperty = Callable[[str], float]
"""Function from a valid SMILES string to a number, NaN if undefined."""


def parse_smiles(smiles: str) -> Chem.Mol | None:
    """Return the sanitized molecule, or None if the string is not valid."""
    # RDKit would read text after a space as the name of the molecule, and the empty string as a molecule without atoms.
    if not smiles or any(character.isspace() for character in smiles):
        return None
    with rdBase.BlockLogs():
        return Chem.MolFromSmiles(smiles)


def canonical_smiles(smiles: str) -> str | None:
    """Return the canonical form of a string in RDKit, or None if it does not parse and sanitize.

    The empty string and strings with whitespace are not valid. Messages of RDKit are silenced during the call only.

    Args:
        smiles: Any string.
    """
    molecule = parse_smiles(smiles)
    return None if molecule is None else Chem.MolToSmiles(molecule)


def valid_molecule(molecule: "str | Chem.Mol") -> Chem.Mol:
    """Return the molecule of a string.

    Args:
        molecule: SMILES string, or a molecule, which is returned as it is.

    Raises:
        ValueError: If the string is not a valid SMILES.
    """
    parsed = parse_smiles(molecule) if isinstance(molecule, str) else molecule
    if parsed is None:
        raise ValueError(f"Expected a valid SMILES string, got {molecule!r}.")
    return parsed


def qed(molecule: "str | Chem.Mol") -> float:
    """Return the quantitative estimate of drug-likeness, in (0, 1) (Bickerton et al., Nature Chemistry 4, 2012).

    Args:
        molecule: SMILES string or molecule.

    Raises:
        ValueError: If the string is not a valid SMILES.
    """
    return float(QED.qed(valid_molecule(molecule)))


def ring_count(molecule: "str | Chem.Mol") -> float:
    """Return the number of rings in the symmetrized smallest set of smallest rings of RDKit.

    The published labels of QM9 are this count. It can exceed the cyclomatic number: cubane has 6, not 5.

    Args:
        molecule: SMILES string or molecule.

    Raises:
        ValueError: If the string is not a valid SMILES.
    """
    return float(rdMolDescriptors.CalcNumRings(valid_molecule(molecule)))


def property_values(smiles: Iterable[str], function: MoleculeProperty) -> list[float]:
    """Return the property of each string, computed once per distinct string.

    Args:
        smiles: Strings.
        function: Property of a string.
    """
    known: dict[str, float] = {}
    return [known[one] if one in known else known.setdefault(one, float(function(one))) for one in smiles]


@dataclass(frozen=True)
class ReferenceMolecules:
    """Training molecules, to compare samples with.

    Args:
        raw: Strings as in the training data.
        canonical: Canonical forms of the valid strings.
    """

    raw: Container[str]
    canonical: Container[str]

    @classmethod
    def of(
        cls, strings: Iterable[str], canonical_form: Callable[[str], str | None] | None = None
    ) -> "ReferenceMolecules":
        """Canonicalize training strings, once for any number of comparisons. Invalid strings are in `raw` only.

        Args:
            strings: Training strings.
            canonical_form: Function from a string to its canonical SMILES, None if it is not valid; by default
                `canonical_smiles`.
        """
        read = canonical_form or canonical_smiles
        raw, canonical = set(), set()
        for one in strings:
            if one in raw:
                continue
            raw.add(one)
            form = read(one)
            if form is not None:
                canonical.add(form)
        return cls(frozenset(raw), frozenset(canonical))


@dataclass(frozen=True)
class MoleculeReport:
    """Valid, unique and novel strings among generated ones.

    A molecule has many SMILES strings: "OCC" and "CCO" are both ethanol. `unique` and `novel` compare canonical forms,
    so they count molecules. `unique_raw` and `novel_raw` compare strings, so they count spellings, as the evaluation of
    arXiv 2412.10193 does on QM9: a training molecule in another spelling is novel there.

    Args:
        generated: Number of generated strings.
        valid: Strings that parse and sanitize in RDKit and are not empty, in order and with repeats.
        unique: Distinct canonical forms of `valid`, in order of first appearance.
        novel: Strings of `unique` that are not in the training data.
        unique_raw: Distinct strings of `valid`, in order of first appearance.
        novel_raw: Strings of `unique_raw` that are not in the training data as written there.
    """

    generated: int
    valid: tuple[str, ...]
    unique: tuple[str, ...]
    novel: tuple[str, ...]
    unique_raw: tuple[str, ...]
    novel_raw: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """Return the number of strings in each list."""
        return {
            "generated": self.generated,
            "valid": len(self.valid),
            "unique": len(self.unique),
            "novel": len(self.novel),
            "unique_raw": len(self.unique_raw),
            "novel_raw": len(self.novel_raw),
        }

    def fractions(self) -> dict[str, float | None]:
        """Return each count divided by the number of generated strings; None if there are none."""
        counts = self.counts()
        total = counts.pop("generated")
        return {name: count / total if total else None for name, count in counts.items()}

    def row(self) -> dict[str, float | int | None]:
        """Return counts, and fractions in columns `<name>_fraction`, as a flat table row."""
        return {**self.counts(), **{f"{name}_fraction": value for name, value in self.fractions().items()}}


def evaluate_molecules(
    generated: Iterable[str],
    training: "Iterable[str] | ReferenceMolecules",
    canonical_form: Callable[[str], str | None] | None = None,
) -> MoleculeReport:
    """Compare generated strings with the training data.

    Args:
        generated: String of each sample, without special tokens.
        training: Training strings; for several comparisons, `ReferenceMolecules.of` them.
        canonical_form: Function from a string to its canonical SMILES, None if it is not valid, for data in another
            notation; by default `canonical_smiles`.
    """
    read = canonical_form or canonical_smiles
    reference = training if isinstance(training, ReferenceMolecules) else ReferenceMolecules.of(training, read)
    strings = list(generated)
    forms = {one: read(one) for one in dict.fromkeys(strings)}
    canonical = {one: form for one, form in forms.items() if form is not None}
    unique = tuple(dict.fromkeys(canonical.values()))
    return MoleculeReport(
        generated=len(strings),
        valid=tuple(one for one in strings if one in canonical),
        unique=unique,
        novel=tuple(form for form in unique if form not in reference.canonical),
        unique_raw=tuple(canonical),
        novel_raw=tuple(one for one in canonical if one not in reference.raw),
    )


def crippen_logp(molecule: Chem.Mol) -> float:
    """Return the octanol-water partition coefficient of Wildman and Crippen, as its logarithm."""
    return float(rdMolDescriptors.CalcCrippenDescriptors(molecule)[0])


def sa_score(molecule: "str | Chem.Mol") -> float:
    """Return the synthetic accessibility score, from 1 (easy to synthesize) to 10 (hard).

    The score is the frequency in PubChem of the circular fragments of the molecule, with penalties for size,
    stereocenters, spiro and bridgehead atoms and large rings (Ertl and Schuffenhauer, Journal of Cheminformatics 1:8,
    2009). It was developed for molecules of the size of drugs. RDKit ships the implementation of the authors, whose
    comments name its differences from the paper.

    Args:
        molecule: SMILES string or molecule.

    Raises:
        ValueError: If the string is not a valid SMILES.
        ModuleNotFoundError: If RDKit is installed without its contributions.
    """
    return float(_scorer().calculateScore(valid_molecule(molecule)))


@cache
def _scorer() -> ModuleType:
    path = Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
    if not path.is_file():
        raise ModuleNotFoundError(f"`sa_score` needs the contribution SA_Score of RDKit, but {path} does not exist.")
    spec = importlib.util.spec_from_file_location("sascorer", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
