"""Metrics of generated DNA, as arXiv 2412.10193 reports them for Species10."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np

from discrete_diffusion.datasets import SequenceData
from discrete_diffusion.eval import (
    compare_kmers,
    compare_kmers_by_species,
    discriminator_auroc,
    draw_composition,
    draw_dna,
    draw_kmer_spectrum,
    gc_content,
    is_dna,
    kmer_spectrum,
)
from discrete_diffusion.evaluator.metrics import Number, Outcome, Run, described, name_of
from discrete_diffusion.evaluator.pictures import draw_novel_distribution, pretty
from discrete_diffusion.evaluator.point import Point

LENGTHS = (3, 6)
DRAWN = 3


class DNAMetrics:
    """Valid, distinct and novel DNA, its k-mers against the training data's, how well it can be told, and a property.

    DNA is valid where all letters are A, C, G, T or N. `js_divergence_3` is the Jensen-Shannon divergence of the 3-mers
    of all samples from those of training rows, in nats, and `js_distance_3` its square root, which the paper reports.
    `held_out_js_distance_3` is what as many held-out rows have (or all, where those are fewer): what chance alone makes
    of it. All are told for 6-mers too. `discriminator_auroc` is that of a classifier of 3-mers that tells samples from
    held-out rows: 1/2 is best.

    Args:
        data: the data to compare with.
        property: from DNA to a number, its GC content if None.
        property_name: its name, that of the function if None.
        known_rows: training rows that count as known, at most, evenly spread.
        reference_rows: training rows whose k-mers, and held-out ones that samples are compared with, at most.
    """

    noun = "sequences"
    shown: Mapping[str, str] = MappingProxyType({"valid": "valid", "distinct": "distinct", "novel": "novel"})
    illustrate: Callable[..., object] | None = None

    def __init__(
        self,
        data: SequenceData,
        property: Callable[[str], float] | None = None,
        property_name: str | None = None,
        known_rows: int = 20_000,
        reference_rows: int = 2_000,
    ) -> None:
        self.property = gc_content if property is None else property
        self.property_name = property_name or ("GC content" if property is None else name_of(property))
        self.known = frozenset(
            hash(one.upper())
            for batch in data.examples(known_rows).with_format(None).select_columns(data.column).iter(256)
            for one in batch[data.column]
        )
        examples = data.examples(reference_rows).with_format(None)
        self.references = [one.upper() for one in examples[data.column][:]]
        self.label = data.label
        self.classes = None if data.label is None else np.array(examples["label"][:])
        self.spectra = {k: kmer_spectrum(self.references, k) for k in LENGTHS}
        held_out = data.validation.with_format(None)[data.column][:]
        self.held_out = _spread([one.upper() for one in held_out], reference_rows)
        self.training_values = [float(self.property(one)) for one in self.references if is_dna(one)]
        self.training = described(self.training_values)
        self._chance = lru_cache(self._held_out_distances)

    def __call__(self, strings: Sequence[str], wanted: Sequence[int] | None = None) -> Outcome:
        """Compare with the training data.

        Args:
            strings: the samples.
            wanted: the class that each was asked to be of; with it, `js_distance_3_by_class` compares samples with the
                training rows of their class alone, and weighs the classes with their shares of the data.
        """
        values = {one: float(self.property(one)) for one in dict.fromkeys(strings) if is_dna(one)}
        novel = [one for one in values if hash(one) not in self.known]
        valid = [one for one in strings if one in values]
        counts = {"valid": len(valid), "distinct": len(values), "novel": len(novel)}
        numbers: dict[str, Number] = {"generated": len(strings), **counts}
        numbers |= {f"{name}_fraction": count / len(strings) if strings else None for name, count in counts.items()}
        for k in LENGTHS:
            told = compare_kmers(strings, self.spectra[k], k)
            numbers |= {f"js_divergence_{k}": told.divergence, f"js_distance_{k}": told.distance}
            numbers[f"held_out_js_distance_{k}"] = self._chance(len(strings))[k]
        numbers |= self._by_class(strings, wanted)
        numbers["discriminator_auroc"] = discriminator_auroc(self.held_out, strings)
        numbers |= {f"valid_property_{k}": v for k, v in described([values[one] for one in valid]).items()}
        numbers |= {f"novel_property_{k}": v for k, v in described([values[one] for one in novel]).items()}
        fresh = set(novel)
        samples = [
            {"string": one, "valid": one in values, "novel": one in fresh, "property": values.get(one)}
            for one in strings
        ]
        return Outcome(numbers, samples, novel, [values[one] for one in novel])

    def accepts(self, string: str) -> bool:
        """Whether it is DNA."""
        return is_dna(string)

    def draw(self, runs: Sequence[Run], directory: Path, *, chosen: Point, shown: int) -> list[Path]:
        """3-mers and letters of the samples beside the data's; the first novel samples; the property."""
        groups: dict[str, list[str]] = {}
        for run in runs:
            if run.condition == chosen or run.condition.data_labels or not run.condition.gamma:
                strings = [str(row["string"]) for row in run.outcome.samples]
                groups.setdefault(run.condition.title(), []).extend(strings)
        spectra = {name: kmer_spectrum(strings, DRAWN) for name, strings in groups.items()}
        own = self._own(chosen)
        marks = {name: kmer_spectrum(rows, DRAWN) for name, rows in own.items()}
        pairs = [(name, "data", one, self.spectra[DRAWN]) for name, one in spectra.items()]
        pairs += [(chosen.title(), name, spectra[chosen.title()], one) for name, one in marks.items()]
        apart = [(name, other, compare_kmers(one, two, DRAWN).distance) for name, other, one, two in pairs]
        told = [f"{name} to {other} {distance:.3f}" for name, other, distance in apart if distance is not None]
        spectrum = draw_kmer_spectrum(
            self.spectra[DRAWN],
            spectra | marks,
            directory / "kmers.png",
            note="Jensen-Shannon distance:  " + "   ·   ".join(told) if told else "",
        )
        composition = draw_composition(
            {"data": self.references} | own | {chosen.title(): groups[chosen.title()]}, directory / "composition.png"
        )
        first = next(run for run in runs if run.condition == chosen)
        count = min(shown, len(first.outcome.novel))
        sheet = draw_dna(
            first.outcome.novel[:count],
            directory / "sequences.png",
            values=first.outcome.values[:count],
            property_name=pretty(self.property_name),
            title=f"The first {count} novel sequences of seed {first.seed} ({chosen.title()})",
        )
        distribution = draw_novel_distribution(
            runs,
            chosen,
            self.training_values,
            directory,
            property_name=self.property_name,
            noun=self.noun,
        )
        return [spectrum, composition, sheet, distribution]

    def _own(self, condition: Point) -> dict[str, list[str]]:
        """The training rows of the class that is asked for, by its name in pictures."""
        if self.label is None or self.classes is None or condition.label is None:
            return {}
        own = [one for one, label in zip(self.references, self.classes, strict=True) if label == condition.label]
        return {f"data, {self.label.class_names[condition.label]}": own}

    def _held_out_distances(self, count: int) -> dict[int, float | None]:
        some = _spread(self.held_out, count)
        return {k: compare_kmers(some, self.spectra[k], k).distance for k in LENGTHS}

    def _by_class(self, strings: Sequence[str], wanted: Sequence[int] | None) -> dict[str, Number]:
        if self.classes is None:
            return {}
        if wanted is None:
            return {f"js_distance_{k}_by_class": None for k in LENGTHS}
        if len(wanted) != len(strings):
            raise ValueError(f"Expected a class for each of {len(strings)} samples, got {len(wanted)}.")
        asked: dict[str, list[str]] = {}
        for one, label in zip(strings, wanted, strict=True):
            asked.setdefault(str(int(label)), []).append(one)
        known: dict[str, list[str]] = {}
        for one, label in zip(self.references, self.classes.tolist(), strict=True):
            known.setdefault(str(label), []).append(one)
        told = {k: compare_kmers_by_species(asked, known, k) for k in LENGTHS}
        return {f"js_distance_{k}_by_class": one.distance for k, one in told.items()}


def _spread(rows: Sequence[str], count: int) -> list[str]:
    count = min(count, len(rows))
    return [rows[i * len(rows) // count] for i in range(count)]
