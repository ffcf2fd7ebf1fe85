"""Training molecules in the form in which metrics need them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from safetensors.numpy import load_file, save_file

from discrete_diffusion.eval import DescriptorReference, HashedStrings, canonical_smiles
from discrete_diffusion.eval import scaffolds as scaffolds_of

GAUSSIAN = ("scale", "mean", "covariance")
QUANTILES = 2000
"""Values of a property that `KnownMolecules.save` keeps, evenly spread over its distribution."""


Strings: TypeAlias = frozenset[str] | HashedStrings


@dataclass(frozen=True)
class KnownMolecules:
    """Training molecules that samples are compared with.

    Attributes:
        raw: Strings as in the training data.
        canonical: Canonical forms of the valid strings.
        scaffolds: Scaffolds of the molecules.
        descriptors: Gaussian of the descriptors.
        values: Values of properties, by their names.
        some: Canonical forms of some molecules; none if read from a file.
    """

    raw: Strings
    canonical: Strings
    scaffolds: Strings
    descriptors: DescriptorReference
    values: Mapping[str, Sequence[float]]
    some: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        strings: Sequence[str],
        values: Mapping[str, Sequence[float]],
        canonical_form: Callable[[str], str | None] = canonical_smiles,
        rows: int = 10_000,
    ) -> "KnownMolecules":
        """Return the molecules of training strings.

        Args:
            strings: Training strings.
            values: Properties of the strings, by their names.
            canonical_form: Function from a string to its canonical SMILES, None if it is no molecule.
            rows: Number of strings, evenly spread, for the descriptors and `some`.
        """
        forms = {one: canonical_form(one) for one in dict.fromkeys(strings)}
        canonical = frozenset(form for form in forms.values() if form is not None)
        some = [form for one in strings[:: -(-len(strings) // rows)] if (form := forms[one]) is not None]
        return cls(frozenset(forms), canonical, scaffolds_of(canonical), DescriptorReference.of(some), values, some)

    @classmethod
    def load(cls, path: Path) -> "KnownMolecules":
        """Return the molecules of a file that `save` wrote."""
        arrays = load_file(path)
        canonical, scaffolds = HashedStrings(arrays["canonical"]), HashedStrings(arrays["scaffolds"])
        raw = HashedStrings(arrays["raw"]) if "raw" in arrays else canonical
        descriptors = DescriptorReference(*(arrays[f"descriptors.{name}"] for name in GAUSSIAN))
        prefix = "values."
        values = {name[len(prefix) :]: array.tolist() for name, array in arrays.items() if name.startswith(prefix)}
        return cls(raw, canonical, scaffolds, descriptors, values)

    def save(self, path: Path) -> None:
        """Write hashes of the molecules and quantiles of their properties, 8 bytes for each molecule.

        The molecules cannot be read from the file. Strings that are canonical already are written once.
        """
        strings = {"raw": self.raw, "canonical": self.canonical, "scaffolds": self.scaffolds}
        arrays = {name: _hashes(one) for name, one in strings.items()}
        if np.array_equal(arrays["raw"], arrays["canonical"]):
            del arrays["raw"]
        arrays |= {f"descriptors.{name}": np.ascontiguousarray(getattr(self.descriptors, name)) for name in GAUSSIAN}
        levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
        arrays |= {f"values.{name}": np.quantile(np.asarray(values), levels) for name, values in self.values.items()}
        save_file(arrays, path)


def _hashes(strings: Strings) -> np.ndarray:
    return (strings if isinstance(strings, HashedStrings) else HashedStrings.of(strings)).hashes
