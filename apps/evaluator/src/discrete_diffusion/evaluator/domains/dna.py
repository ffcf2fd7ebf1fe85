"""DNA, with the metrics that arXiv 2412.10193 reports for Species10."""

import sys
from collections.abc import Callable, Mapping, Sequence
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
)
from discrete_diffusion.evaluator.domains.domain import Domain, Number, Outcome, Run, described, name_of
from discrete_diffusion.evaluator.domains.report_layout import ReportLayout
from discrete_diffusion.evaluator.domains.sequences import (
    KmerReference,
    SpecialTokens,
    held_out_rows,
    spectra_of,
    strings_to_draw,
)
from discrete_diffusion.evaluator.pictures import draw_novel_distribution, pretty, sheet_title
from discrete_diffusion.evaluator.point import Point

LETTERS = "ACGT"
LENGTHS = (3, 6)
DRAWN = 3


def base_color(token: str) -> str:
    """Return the color class of a token in a trajectory."""
    return f"base-{token.upper()}" if token.upper() in LETTERS else "plain"


class DNA(Domain):
    """Validity, novelty, k-mers and a property of DNA.

    A sample is valid if all letters are A, C, G, T or N, and novel if it is also at least as long as the shortest
    training row and equals none. `js_divergence_3` is the Jensen-Shannon divergence between the 3-mers of all samples
    and those of training rows, in nats, and `js_distance_3` its square root, which the paper reports.
    `held_out_js_distance_3` is the distance of as many held-out rows (or all, if they are fewer), which chance alone
    gives. The same columns exist for 6-mers. `discriminator_auroc` is that of a classifier of 3-mers between samples
    and held-out rows: 1/2 is best.

    Args:
        data: Data to compare with.
        property: Function from DNA to a number; GC content if None.
        property_name: Name of the property; that of the function if None.
        known_rows: Largest number of training rows that count as known, evenly spread.
        reference_rows: Largest number of training rows whose k-mers are compared, and of held-out rows.
    """

    checks_validity = True
    noun = "sequences"
    layout = ReportLayout(
        style="dna",
        longest=1200,
        splits_words=False,
        in_tens=True,
        token_color=base_color,
        legend=tuple((f"base-{letter}", letter) for letter in LETTERS),
    )
    pictures = MappingProxyType(
        {
            "kmers": "frequent k-mers of the training data, and their frequency in samples",
            "composition": "bases of the training data and of samples",
            "sequences": "novel sequences, in the order in which they were drawn",
        }
    )
    shown: Mapping[str, str] = MappingProxyType({"valid": "valid", "distinct": "distinct", "novel": "novel"})

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
        known: set[int] = set()
        self.shortest = sys.maxsize
        for batch in data.examples(known_rows).with_format(None).select_columns(data.column).iter(256):
            known.update(hash(one.upper()) for one in batch[data.column])
            self.shortest = min(self.shortest, *map(len, batch[data.column]))
        self.known = frozenset(known)
        examples = data.examples(reference_rows).with_format(None)
        self.references = [one.upper() for one in examples[data.column][:]]
        self.special = SpecialTokens(data.tokenizer)
        self.label = data.label
        self.classes = None if data.label is None else np.array(examples["label"][:])
        self.held_out = held_out_rows(data, reference_rows)
        self.kmers = KmerReference(self.references, self.held_out, LENGTHS, LETTERS)
        self.training_values = [float(self.property(one)) for one in self.references if is_dna(one)]
        self.training = described(self.training_values)

    def __call__(self, strings: Sequence[str], requested: Sequence[int] | None = None) -> Outcome:
        """Compare with the training data.

        Args:
            strings: Samples.
            requested: Requested class of each sample. `js_distance_3_by_class` compares samples with the training rows
                of their class, and averages over classes by their share of the data.

        Raises:
            ValueError: If `requested` is not as long as `strings`.
        """
        values = {one: float(self.property(one)) for one in dict.fromkeys(strings) if is_dna(one)}
        novel = [one for one in values if len(one) >= self.shortest and hash(one) not in self.known]
        numbers: dict[str, Number] = {}
        letters = self.special.hidden(strings)
        for k in LENGTHS:
            found = compare_kmers(letters, self.kmers.spectra[k], k)
            numbers |= {f"js_divergence_{k}": found.divergence, f"js_distance_{k}": found.distance}
            numbers[f"held_out_js_distance_{k}"] = self.kmers.held_out_distances(len(strings))[k]
        numbers |= self._by_class(letters, requested)
        numbers["discriminator_auroc"] = discriminator_auroc(self.held_out, letters)
        return Outcome.of(strings, values, novel, numbers)

    @staticmethod
    def valid_form(string: str) -> str | None:
        """Return the string if it is DNA, else None."""
        return string if is_dna(string) else None

    def accepts(self, string: str) -> bool:
        """Return whether a string is DNA."""
        return is_dna(string)

    def draw(self, runs: Sequence[Run], directory: Path, *, chosen: Point, shown: int) -> list[Path]:
        """Draw 3-mers and letters of samples and data, the first novel samples, and the property."""
        groups = {name: self.special.hidden(some) for name, some in strings_to_draw(runs, chosen).items()}
        reference = self.kmers.spectra[DRAWN]
        own = self._own(chosen)
        spectra, marks = (spectra_of(one, DRAWN, LETTERS) for one in (groups, own))
        pairs = [(name, "data", one, reference) for name, one in spectra.items()]
        pairs += [(chosen.title(), name, spectra[chosen.title()], one) for name, one in marks.items()]
        apart = [(name, other, compare_kmers(one, two, DRAWN).distance) for name, other, one, two in pairs]
        distances = [f"{name} to {other} {distance:.3f}" for name, other, distance in apart if distance is not None]
        spectrum = draw_kmer_spectrum(
            reference,
            spectra | marks,
            directory / "kmers.png",
            note="Jensen-Shannon distance:  " + "   ·   ".join(distances) if distances else "",
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
            title=sheet_title(first, self.noun, count),
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
        """Return the training rows of the requested class, by its name in pictures."""
        if self.label is None or self.classes is None or condition.label is None:
            return {}
        own = [one for one, label in zip(self.references, self.classes, strict=True) if label == condition.label]
        return {f"data, {self.label.class_names[condition.label]}": own}

    def _by_class(self, strings: Sequence[str], requested: Sequence[int] | None) -> dict[str, Number]:
        if self.classes is None:
            return {}
        if requested is None:
            return {f"js_distance_{k}_by_class": None for k in LENGTHS}
        if len(requested) != len(strings):
            raise ValueError(f"Expected a class for each of {len(strings)} samples, got {len(requested)}.")
        drawn: dict[str, list[str]] = {}
        for one, label in zip(strings, requested, strict=True):
            drawn.setdefault(str(int(label)), []).append(one)
        known: dict[str, list[str]] = {}
        for one, label in zip(self.references, self.classes.tolist(), strict=True):
            if self.label is not None and label < self.label.num_classes:  # not the null label
                known.setdefault(str(label), []).append(one)
        return {f"js_distance_{k}_by_class": compare_kmers_by_species(drawn, known, k).distance for k in LENGTHS}
