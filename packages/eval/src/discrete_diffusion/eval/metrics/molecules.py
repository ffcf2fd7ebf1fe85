"""Validity, uniqueness and novelty of generated molecules, and properties of molecules."""

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from rdkit import Chem, RDConfig, rdBase
from rdkit.Chem import QED, rdMolDescriptors

MoleculeProperty = Callable[[str], float]
"""Any function from a valid SMILES string to a number; NaN where it has none."""


def parse_smiles(smiles: str) -> Chem.Mol | None:
    """The sanitized molecule, None where the string is not valid."""
    # RDKit reads what follows a space as the molecule's name and the empty string as a molecule of no atoms.
    if not smiles or any(character.isspace() for character in smiles):
        return None
    with rdBase.BlockLogs():
        return Chem.MolFromSmiles(smiles)


def canonical_smiles(smiles: str) -> str | None:
    """RDKit's canonical form of a string that parses and sanitizes, None for one that does not.

    The empty string and strings with white space are not valid. RDKit's messages are silenced inside the call only.
    """
    molecule = parse_smiles(smiles)
    return None if molecule is None else Chem.MolToSmiles(molecule)


def valid_molecule(molecule: "str | Chem.Mol") -> Chem.Mol:
    """The molecule of a string that must be valid.

    Raises:
        ValueError: If it is not.
    """
    parsed = parse_smiles(molecule) if isinstance(molecule, str) else molecule
    if parsed is None:
        raise ValueError(f"Expected a valid SMILES string, got {molecule!r}.")
    return parsed


def qed(molecule: "str | Chem.Mol") -> float:
    """Quantitative estimate of drug-likeness, in (0, 1) (Bickerton et al., Nature Chemistry 4, 2012).

    Raises:
        ValueError: If the string is not a valid SMILES.
    """
    return float(QED.qed(valid_molecule(molecule)))


def ring_count(molecule: "str | Chem.Mol") -> float:
    """Number of rings in RDKit's symmetrized smallest set of smallest rings.

    This is the count that QM9's published labels hold. It can exceed the cyclomatic number: cubane has 6, not 5.

    Raises:
        ValueError: If the string is not a valid SMILES.
    """
    return float(rdMolDescriptors.CalcNumRings(valid_molecule(molecule)))


def property_values(smiles: Iterable[str], function: MoleculeProperty) -> list[float]:
    """The property of each string, computed once for each distinct one."""
    known: dict[str, float] = {}
    return [known[one] if one in known else known.setdefault(one, float(function(one))) for one in smiles]


@dataclass(frozen=True)
class ReferenceMolecules:
    """The training molecules, as they are written and in canonical form."""

    raw: frozenset[str]
    canonical: frozenset[str]

    @classmethod
    def of(
        cls, strings: Iterable[str], canonical_form: Callable[[str], str | None] | None = None
    ) -> "ReferenceMolecules":
        """Canonicalize training strings once, for any number of comparisons; invalid ones stay in `raw` alone.

        Args:
            canonical_form: From a string to canonical SMILES, None where it is not valid; `canonical_smiles` by
                default.
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
    """What became of the generated strings.

    A molecule has many SMILES strings: "OCC" and "CCO" are both ethanol. `unique` and `novel` compare canonical forms
    and so count molecules. `unique_raw` and `novel_raw` compare strings as they come and so count spellings, as the
    paper's evaluation does (arXiv 2412.10193, QM9 experiments): a training molecule spelled differently is novel there.

    Attributes:
        generated: Number of strings given.
        valid: Those that parse and sanitize in RDKit and are not empty, in the order given, with repeats.
        unique: Distinct canonical forms among the valid, in order of first appearance.
        novel: Those of `unique` that are not in the training data.
        unique_raw: Distinct strings among the valid, in order of first appearance.
        novel_raw: Those of `unique_raw` that are not in the training data as it is written.
    """

    generated: int
    valid: tuple[str, ...]
    unique: tuple[str, ...]
    novel: tuple[str, ...]
    unique_raw: tuple[str, ...]
    novel_raw: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """The length of each list."""
        return {
            "generated": self.generated,
            "valid": len(self.valid),
            "unique": len(self.unique),
            "novel": len(self.novel),
            "unique_raw": len(self.unique_raw),
            "novel_raw": len(self.novel_raw),
        }

    def fractions(self) -> dict[str, float | None]:
        """Each count over the number generated; None where nothing was generated."""
        counts = self.counts()
        total = counts.pop("generated")
        return {name: count / total if total else None for name, count in counts.items()}

    def row(self) -> dict[str, float | int | None]:
        """Counts, and fractions under `<name>_fraction`, as one flat row of a table."""
        return {**self.counts(), **{f"{name}_fraction": value for name, value in self.fractions().items()}}


def evaluate_molecules(
    generated: Iterable[str],
    training: "Iterable[str] | ReferenceMolecules",
    canonical_form: Callable[[str], str | None] | None = None,
) -> MoleculeReport:
    """Compare generated strings with the training data's.

    Args:
        generated: Strings without special tokens, one for each sample.
        training: Training strings, or `ReferenceMolecules.of` them where they are compared with more than once.
        canonical_form: How both are written, where that is not SMILES: from a string to canonical SMILES, None where
            it is not valid.
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
