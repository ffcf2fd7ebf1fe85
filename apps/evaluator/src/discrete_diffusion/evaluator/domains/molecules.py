"""Molecules, with the metrics that arXiv 2412.10193 reports for QM9."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from discrete_diffusion import eval as evaluation
from discrete_diffusion.datasets import FittedJointLabel, SequenceData, Stream, ThresholdLabel, selfies_to_smiles
from discrete_diffusion.eval import (
    MoleculeProperty,
    ReferenceMolecules,
    canonical_smiles,
    evaluate_molecules,
    frechet_descriptor_distance,
    internal_diversity,
    property_values,
    sa_score,
    scaffolds,
)
from discrete_diffusion.evaluator.carried_data import CarriedData
from discrete_diffusion.evaluator.domains.domain import Domain, Number, Outcome, Run, described, name_of
from discrete_diffusion.evaluator.domains.known_molecules import KnownMolecules
from discrete_diffusion.evaluator.domains.report_layout import ReportLayout
from discrete_diffusion.evaluator.pictures import draw_novel_distribution, pretty, sheet_title
from discrete_diffusion.evaluator.point import Point

OURS: Mapping[str, MoleculeProperty] = {"qed": evaluation.qed, "ring_count": evaluation.ring_count}


def atom_color(token: str) -> str:
    """Return the color class of a token in a trajectory, which is that of its atom."""
    letter = next((one for one in token if one.isalpha()), "").upper()
    return f"atom-{letter}" if letter in tuple("CNOFS") else "plain"


class Molecules(Domain):
    """Validity, uniqueness, novelty, diversity and a property of molecules.

    `unique` and `novel` compare canonical forms; `unique_raw` and `novel_raw` compare strings, as the paper's
    evaluation does. `internal_diversity`, `scaffolds`, `novel_scaffolds` (those of no training molecule),
    `mean_sa_score` and `frechet_descriptor_distance` are computed over all valid molecules, repeats included.

    Args:
        data: Data whose training rows count as known, or what a model carries of them.
        property: Function from a valid SMILES string to a number. If None, the column of the label if that is qed or
            ring_count, else qed.
        property_name: Name of the property; that of the function if None.
        read: Function from a string of the data to SMILES, or to None if it is no molecule. None if they are SMILES.
        property_rows: Number of training rows, evenly spread, for the descriptors, and for a property that the data do
            not hold.

    Raises:
        ValueError: If the data are streamed.
    """

    checks_validity = True
    noun = "molecules"
    layout = ReportLayout(
        style="drawn",
        longest=400,
        splits_words=False,
        shown_first=None,
        token_color=atom_color,
        legend=(),
        picture_side=220,
        state_picture_side=220,
        picture_colors=32,
    )
    pictures = MappingProxyType({"molecules": "novel molecules, in the order in which they were drawn"})
    shown: Mapping[str, str] = MappingProxyType(
        {"valid": "valid", "unique": "unique", "novel": "novel", "novel_raw": "novel strings"}
    )

    def __init__(
        self,
        data: SequenceData | CarriedData,
        property: MoleculeProperty | None = None,
        property_name: str | None = None,
        read: Callable[[str], str | None] | None = None,
        property_rows: int = 10_000,
    ) -> None:
        parts = data.label.labels if isinstance(data.label, FittedJointLabel) else (data.label,)
        label = next((part for part in parts if part is not None and part.column in OURS), None)
        columns = () if data.values is None else data.values.columns
        column = next((one for one in columns if one in OURS), "qed") if label is None else label.column
        self.read = read
        self.of_molecule = OURS[column] if property is None else property
        self.property_name = property_name or (column if property is None else name_of(property))
        if isinstance(data, CarriedData):
            self.known = KnownMolecules.load(data.path)
        else:
            self.known = known_molecules(data, self.canonical, property_rows)
        if property is None and column in self.known.values:
            self.training_values = self.known.values[column]
        elif isinstance(data, CarriedData):
            self.training_values = []
        else:
            self.training_values = [float(self.of_molecule(one)) for one in self.known.some]
        self.threshold = label.threshold if isinstance(label, ThresholdLabel) and property is None else None
        self.training = described(self.training_values)

    def __call__(self, strings: Sequence[str], requested: Sequence[int] | None = None) -> Outcome:
        """Compare with the training data."""
        report = evaluate_molecules(strings, ReferenceMolecules(self.known.raw, self.known.canonical), self.canonical)
        known = dict(zip(report.unique_raw, property_values(report.unique_raw, self.property), strict=True))
        values = property_values(report.novel, self.of_molecule)
        numbers: dict[str, Number] = dict(report.row())
        numbers |= {f"valid_property_{k}": v for k, v in described([known[one] for one in report.valid]).items()}
        numbers |= {f"novel_property_{k}": v for k, v in described(values).items()}
        forms = {one: str(self.canonical(one)) for one in known}
        numbers |= self._as_a_whole([forms[one] for one in report.valid])
        novel = set(report.novel)
        samples = [
            {
                "string": one,
                "valid": one in known,
                "canonical": forms.get(one),
                "novel": forms.get(one) in novel,
                "property": known.get(one),
            }
            for one in strings
        ]
        return Outcome(numbers, samples, report.novel, values)

    def canonical(self, string: str) -> str | None:
        """Return the canonical SMILES of a string of the data, None if it is no molecule."""
        smiles = string if self.read is None else self.read(string)
        return None if smiles is None else canonical_smiles(smiles)

    @staticmethod
    def valid_form(string: str) -> str | None:
        """Return the canonical SMILES of SMILES, None if it is no molecule."""
        return canonical_smiles(string)

    def property(self, string: str) -> float:
        """Return the property of a string of the data that is a molecule."""
        return float(self.of_molecule(self.readable(string)))

    def readable(self, string: str) -> str:
        """Return the SMILES of a string of the data that is a molecule."""
        return string if self.read is None else str(self.read(string))

    def accepts(self, string: str) -> bool:
        """Return whether a string is a molecule."""
        return self.canonical(string) is not None

    def illustrate(self, string: str, size: tuple[int, int]) -> Any:
        """Draw a string of the data, or SMILES; return None if it is no molecule."""
        smiles = None if self.read is None else self.read(string)
        return evaluation.molecule_image(smiles or string, size)

    def _as_a_whole(self, molecules: Sequence[str]) -> dict[str, Number]:
        found = scaffolds(molecules)
        return {
            "internal_diversity": internal_diversity(molecules),
            "scaffolds": len(found),
            "novel_scaffolds": sum(one not in self.known.scaffolds for one in found),
            "mean_sa_score": described(property_values(molecules, sa_score))["mean"],
            "frechet_descriptor_distance": frechet_descriptor_distance(molecules, self.known.descriptors),
        }

    def draw(self, runs: Sequence[Run], directory: Path, *, chosen: Point, shown: int) -> list[Path]:
        """Draw the first novel molecules of the chosen condition, and the distribution of the property."""
        name = pretty(self.property_name)
        first = next(run for run in runs if run.condition == chosen)
        count = min(shown, len(first.outcome.novel))
        grid = evaluation.draw_molecule_grid(
            first.outcome.novel[:count],
            directory / "molecules.png",
            values=first.outcome.values[:count],
            property_name=name,
            title=sheet_title(first, self.noun, count),
        )
        distribution = draw_novel_distribution(
            runs,
            chosen,
            self.training_values,
            directory,
            property_name=self.property_name,
            noun=self.noun,
            threshold=self.threshold,
        )
        return [grid, distribution]


def known_molecules(
    data: SequenceData, canonical_form: Callable[[str], str | None] = canonical_smiles, rows: int = 10_000
) -> KnownMolecules:
    """Return the training molecules, with the properties that the data hold.

    Args:
        data: The data.
        canonical_form: Function from a string of the data to its canonical SMILES, None if it is no molecule.
        rows: Number of molecules for the descriptors.

    Raises:
        ValueError: If the data are streamed.
    """
    if isinstance(data.train, Stream):
        raise ValueError("Expected molecules that are not streamed: a novel one is unlike all of them.")
    table = data.train.with_format(None)
    values = {name: [float(one) for one in table[name][:]] for name in OURS if name in table.column_names}
    return KnownMolecules.of(table[data.column][:], values, canonical_form, rows)


class Selfies(Molecules):
    """Molecules whose strings are SELFIES; `read` is `selfies_to_smiles`."""

    @staticmethod
    def valid_form(string: str) -> str | None:
        """Return the canonical SMILES of SELFIES, None if it is no molecule."""
        smiles = selfies_to_smiles(string)
        return None if smiles is None else canonical_smiles(smiles)
