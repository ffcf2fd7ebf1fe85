"""Metrics of generated proteins that need no network."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from scipy.stats import wasserstein_distance

from discrete_diffusion.datasets import SequenceData
from discrete_diffusion.eval import (
    AMINO_ACIDS,
    NearestSequences,
    compare_kmers,
    discriminator_auroc,
    draw_kmer_spectrum,
    hydrophobicity,
    is_protein,
    kmer_shares,
    kmer_spectrum,
    low_complexity,
    net_charge,
)
from discrete_diffusion.evaluator.metrics import Number, Outcome, Run, described, name_of
from discrete_diffusion.evaluator.pictures import draw_novel_distribution
from discrete_diffusion.evaluator.point import Point

LENGTHS = (1, 2)
PROPERTIES: Mapping[str, Callable[[str], float]] = MappingProxyType(
    {"length": len, "charge": net_charge, "hydrophobicity": hydrophobicity, "low_complexity": low_complexity}
)


class ProteinMetrics:
    """Validity, novelty, composition, physical properties and nearest training sequences of proteins.

    A sample is valid if it consists of amino acids in upper case. `js_distance_1` is the Jensen-Shannon distance of the
    composition of all samples from that of training rows, `js_distance_2` that of their pairs of neighbors, and
    `held_out_js_distance_1` the value for as many held-out rows (or all, if those are fewer), which chance alone gives.
    `discriminator_auroc` is that of a classifier of pairs between samples and held-out rows: 1/2 is best.

    `length_mean`, `charge_mean`, `hydrophobicity_mean` and `low_complexity_mean` are means over the valid samples;
    `length_distance` and so on are Wasserstein distances to the held-out rows, in units of the property.
    `nearest_identity_mean` is the mean identity of valid samples to the nearest of the known training rows, and
    `held_out_nearest_identity_mean` that of held-out rows: samples with larger values repeat the training data.

    Args:
        data: Data to compare with.
        property: Function from a protein to a number; hydrophobicity if None.
        property_name: Name of the property; that of the function if None.
        known_rows: Largest number of training rows that count as known, evenly spread.
        reference_rows: Largest number of training rows whose composition is compared, and of held-out rows.
        nearest_rows: Largest number of samples, and of held-out rows, whose nearest training row is sought.
    """

    noun = "proteins"
    shown: Mapping[str, str] = MappingProxyType({"valid": "valid", "distinct": "distinct", "novel": "novel"})
    illustrate: Callable[..., object] | None = None

    def __init__(
        self,
        data: SequenceData,
        property: Callable[[str], float] | None = None,
        property_name: str | None = None,
        known_rows: int = 20_000,
        reference_rows: int = 2_000,
        nearest_rows: int = 256,
    ) -> None:
        self.property = hydrophobicity if property is None else property
        self.property_name = property_name or name_of(self.property)
        known = [one.upper() for one in data.examples(known_rows).with_format(None)[data.column][:]]
        self.known = frozenset(known)
        self.references = _spread(known, reference_rows)
        held_out = data.validation.with_format(None)[data.column][:]
        self.held_out = _spread([one.upper() for one in held_out], reference_rows)
        self.spectra = {k: kmer_spectrum(self.references, k, AMINO_ACIDS) for k in LENGTHS}
        self.properties = {name: _values(function, self.held_out) for name, function in PROPERTIES.items()}
        self.training_values = [float(self.property(one)) for one in self.references if is_protein(one)]
        self.training = described(self.training_values)
        self.nearest_rows = nearest_rows
        self._nearest = NearestSequences(known)
        self._held_out_identity = float(self._nearest.identities(_spread(self.held_out, nearest_rows)).mean())
        self._chance = lru_cache(self._held_out_distances)

    def __call__(self, strings: Sequence[str], wanted: Sequence[int] | None = None) -> Outcome:
        """Compare with the training data.

        Args:
            strings: Samples.
            wanted: Requested classes, which change nothing here.
        """
        values = {one: float(self.property(one)) for one in dict.fromkeys(strings) if is_protein(one)}
        novel = [one for one in values if one not in self.known]
        valid = [one for one in strings if one in values]
        counts = {"valid": len(valid), "distinct": len(values), "novel": len(novel)}
        numbers: dict[str, Number] = {"generated": len(strings), **counts}
        numbers |= {f"{name}_fraction": count / len(strings) if strings else None for name, count in counts.items()}
        for k in LENGTHS:
            numbers[f"js_distance_{k}"] = compare_kmers(strings, self.spectra[k], k, AMINO_ACIDS).distance
            numbers[f"held_out_js_distance_{k}"] = self._chance(len(strings))[k]
        pairs = partial(kmer_shares, k=2, letters=AMINO_ACIDS)
        numbers["discriminator_auroc"] = discriminator_auroc(self.held_out, strings, features=pairs)
        for name, function in PROPERTIES.items():
            found, held_out = _values(function, valid), self.properties[name]
            numbers[f"{name}_mean"] = float(found.mean()) if len(found) else None
            numbers[f"held_out_{name}_mean"] = float(held_out.mean()) if len(held_out) else None
            both = len(found) and len(held_out)
            numbers[f"{name}_distance"] = float(wasserstein_distance(found, held_out)) if both else None
        near = self._nearest.identities(_spread(valid, self.nearest_rows))
        numbers["nearest_identity_mean"] = float(near.mean()) if len(near) else None
        numbers["held_out_nearest_identity_mean"] = self._held_out_identity
        numbers |= {f"valid_property_{k}": v for k, v in described([values[one] for one in valid]).items()}
        numbers |= {f"novel_property_{k}": v for k, v in described([values[one] for one in novel]).items()}
        fresh = set(novel)
        samples = [
            {"string": one, "valid": one in values, "novel": one in fresh, "property": values.get(one)}
            for one in strings
        ]
        return Outcome(numbers, samples, novel, [values[one] for one in novel])

    def accepts(self, string: str) -> bool:
        """Return whether a string is a protein."""
        return is_protein(string)

    def draw(self, runs: Sequence[Run], directory: Path, *, chosen: Point, shown: int) -> list[Path]:
        """Draw the composition of samples and data, and the distribution of the property."""
        groups: dict[str, list[str]] = {}
        for run in runs:
            if run.condition == chosen or run.condition.data_labels or not run.condition.gamma:
                strings = [str(row["string"]) for row in run.outcome.samples]
                groups.setdefault(run.condition.title(), []).extend(strings)
        composition = draw_kmer_spectrum(
            self.spectra[1],
            {name: kmer_spectrum(strings, 1, AMINO_ACIDS) for name, strings in groups.items()},
            directory / "composition.png",
            title="Amino acids of samples and data",
            letters=AMINO_ACIDS,
        )
        distribution = draw_novel_distribution(
            runs, chosen, self.training_values, directory, property_name=self.property_name, noun=self.noun
        )
        return [composition, distribution]

    def _held_out_distances(self, count: int) -> dict[int, float | None]:
        some = _spread(self.held_out, count)
        return {k: compare_kmers(some, self.spectra[k], k, AMINO_ACIDS).distance for k in LENGTHS}


def _values(function: Callable[[str], float], strings: Sequence[str]) -> np.ndarray:
    values = np.array([function(one) for one in strings], dtype=np.float64)
    return values[np.isfinite(values)]


def _spread(rows: Sequence[str], count: int) -> list[str]:
    count = min(count, len(rows))
    return [rows[i * len(rows) // count] for i in range(count)]
