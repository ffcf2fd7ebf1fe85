"""Metrics of generated molecules, as arXiv 2412.10193 reports them for QM9."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from discrete_diffusion import eval as evaluation
from discrete_diffusion.datasets import SequenceData
from discrete_diffusion.eval import MoleculeProperty, ReferenceMolecules, canonical_smiles, evaluate_molecules
from discrete_diffusion.evaluator.conditions import Condition
from discrete_diffusion.evaluator.metrics import Number, Outcome, Run, described, name_of
from discrete_diffusion.evaluator.pictures import draw_novel_distribution, pretty

OURS: Mapping[str, MoleculeProperty] = {"qed": evaluation.qed, "ring_count": evaluation.ring_count}


class MoleculeMetrics:
    """Valid, unique and novel molecules, and a property of them.

    `unique` and `novel` compare canonical forms; `unique_raw` and `novel_raw` compare strings as they come, as the
    paper's evaluation does.

    Args:
        data: the data whose training rows count as known.
        property: from a valid SMILES string to a number; None is the label's column where that is qed or ring_count,
            else qed.
        property_name: its name, that of the function if None.
        property_rows: how many training rows a property that is no column of theirs is computed for, evenly spread.
    """

    noun = "molecules"
    shown: Mapping[str, str] = MappingProxyType(
        {"valid": "valid", "unique": "unique", "novel": "novel", "novel_raw": "novel strings"}
    )
    illustrate: Callable[..., object] | None = staticmethod(evaluation.molecule_image)

    def __init__(
        self,
        data: SequenceData,
        property: MoleculeProperty | None = None,
        property_name: str | None = None,
        property_rows: int = 10_000,
    ) -> None:
        labeled = data.label is not None and data.label.column in OURS
        column = data.label.column if data.label is not None and labeled else "qed"
        self.property = OURS[column] if property is None else property
        self.property_name = property_name or (column if property is None else name_of(property))
        rows = data.train.with_format(None)
        strings = rows[data.column][:]
        self.reference = ReferenceMolecules.of(strings)
        if property is None and column in rows.column_names:
            self.training_values = [float(value) for value in rows[column][:]]
        else:
            spread = strings[:: -(-len(strings) // property_rows)]
            self.training_values = [float(self.property(one)) for one in spread if canonical_smiles(one)]
        self.threshold = getattr(data.label, "threshold", None) if labeled and property is None else None
        self.training = described(self.training_values)

    def __call__(self, strings: Sequence[str]) -> Outcome:
        """Compare with the training data."""
        report = evaluate_molecules(strings, self.reference)
        known = dict(zip(report.unique_raw, evaluation.property_values(report.unique_raw, self.property), strict=True))
        values = evaluation.property_values(report.novel, self.property)
        numbers: dict[str, Number] = dict(report.row())
        numbers |= {f"valid_property_{k}": v for k, v in described([known[one] for one in report.valid]).items()}
        numbers |= {f"novel_property_{k}": v for k, v in described(values).items()}
        forms = {one: canonical_smiles(one) for one in known}
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

    def accepts(self, string: str) -> bool:
        """Whether it is a molecule."""
        return canonical_smiles(string) is not None

    def draw(self, runs: Sequence[Run], directory: Path, *, chosen: Condition, shown: int) -> list[Path]:
        """The distribution, and the first novel molecules of the chosen condition's first seed."""
        name = pretty(self.property_name)
        first = next(run for run in runs if run.condition == chosen)
        count = min(shown, len(first.outcome.novel))
        grid = evaluation.draw_molecule_grid(
            first.outcome.novel[:count],
            directory / "molecules.png",
            values=first.outcome.values[:count],
            property_name=name,
            title=f"The first {count} novel molecules of seed {first.seed} ({chosen.title()})",
        )
        path, values = directory / "distribution.png", self.training_values
        return [grid, draw_novel_distribution(runs, path, name, values, self.threshold, chosen)]
