"""Proteins, with metrics that need no network."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
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
    low_complexity,
    net_charge,
)
from discrete_diffusion.evaluator.domains.domain import Domain, Number, Outcome, Run, described, name_of
from discrete_diffusion.evaluator.domains.sequences import (
    KmerReference,
    SpecialTokens,
    held_out_rows,
    spectra_of,
    spread,
    strings_to_draw,
)
from discrete_diffusion.evaluator.pictures import draw_novel_distribution
from discrete_diffusion.evaluator.point import Point

LENGTHS = (1, 2)
PROPERTIES: Mapping[str, Callable[[str], float]] = MappingProxyType(
    {"length": len, "charge": net_charge, "hydrophobicity": hydrophobicity, "low_complexity": low_complexity}
)


class Proteins(Domain):
    """Validity, novelty, composition, physical properties and nearest training sequences of proteins.

    A sample is valid if it consists of amino acids in upper case, and novel if it is also at least as long as the
    shortest training row and equals none. `js_distance_1` is the Jensen-Shannon distance of the
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

    checks_validity = True
    noun = "proteins"
    pictures = MappingProxyType({"composition": "amino acids of the training data and of samples"})
    shown: Mapping[str, str] = MappingProxyType({"valid": "valid", "distinct": "distinct", "novel": "novel"})

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
        self.shortest = min(map(len, known))
        self.references = spread(known, reference_rows)
        self.held_out = held_out_rows(data, reference_rows)
        self.special = SpecialTokens(data.tokenizer)
        self.kmers = KmerReference(self.references, self.held_out, LENGTHS, AMINO_ACIDS)
        self.properties = {name: _values(function, self.held_out) for name, function in PROPERTIES.items()}
        self.training_values = [float(self.property(one)) for one in self.references if is_protein(one)]
        self.training = described(self.training_values)
        self.nearest_rows = nearest_rows
        self._nearest = NearestSequences(known)
        self._held_out_identity = float(self._nearest.identities(spread(self.held_out, nearest_rows)).mean())

    def __call__(self, strings: Sequence[str], requested: Sequence[int] | None = None) -> Outcome:
        """Compare with the training data.

        Args:
            strings: Samples.
            requested: Requested classes, which change nothing here.
        """
        values = {one: float(self.property(one)) for one in dict.fromkeys(strings) if is_protein(one)}
        novel = [one for one in values if len(one) >= self.shortest and one not in self.known]
        valid = [one for one in strings if one in values]
        numbers: dict[str, Number] = {}
        letters = self.special.hidden(strings)
        for k in LENGTHS:
            numbers[f"js_distance_{k}"] = compare_kmers(letters, self.kmers.spectra[k], k, AMINO_ACIDS).distance
            numbers[f"held_out_js_distance_{k}"] = self.kmers.held_out_distances(len(strings))[k]
        pairs = partial(kmer_shares, k=2, letters=AMINO_ACIDS)
        numbers["discriminator_auroc"] = discriminator_auroc(self.held_out, letters, features=pairs)
        for name, function in PROPERTIES.items():
            found, held_out = _values(function, valid), self.properties[name]
            numbers[f"{name}_mean"] = float(found.mean()) if len(found) else None
            numbers[f"held_out_{name}_mean"] = float(held_out.mean()) if len(held_out) else None
            both = len(found) and len(held_out)
            numbers[f"{name}_distance"] = float(wasserstein_distance(found, held_out)) if both else None
        near = self._nearest.identities(spread(valid, self.nearest_rows))
        numbers["nearest_identity_mean"] = float(near.mean()) if len(near) else None
        numbers["held_out_nearest_identity_mean"] = self._held_out_identity
        return Outcome.of(strings, values, novel, numbers)

    @staticmethod
    def valid_form(string: str) -> str | None:
        """Return the string if it is a protein, else None."""
        return string if is_protein(string) else None

    def accepts(self, string: str) -> bool:
        """Return whether a string is a protein."""
        return is_protein(string)

    def draw(self, runs: Sequence[Run], directory: Path, *, chosen: Point, shown: int) -> list[Path]:
        """Draw the composition of samples and data, and the distribution of the property."""
        groups = {name: self.special.hidden(some) for name, some in strings_to_draw(runs, chosen).items()}
        composition = draw_kmer_spectrum(
            self.kmers.spectra[1],
            spectra_of(groups, 1, AMINO_ACIDS),
            directory / "composition.png",
            title="Amino acids of samples and data",
            letters=AMINO_ACIDS,
        )
        distribution = draw_novel_distribution(
            runs, chosen, self.training_values, directory, property_name=self.property_name, noun=self.noun
        )
        return [composition, distribution]


def _values(function: Callable[[str], float], strings: Sequence[str]) -> np.ndarray:
    values = np.array([function(one) for one in strings], dtype=np.float64)
    return values[np.isfinite(values)]
