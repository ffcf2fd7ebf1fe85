"""Comparisons of sequences of letters, for DNA and proteins."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from transformers import PreTrainedTokenizerBase

from discrete_diffusion.datasets import SequenceData
from discrete_diffusion.eval import compare_kmers, kmer_spectrum
from discrete_diffusion.evaluator.domains.domain import Run
from discrete_diffusion.evaluator.point import Point


class KmerReference:
    """k-mers of training rows, and their distance from those of held-out rows, which chance alone gives.

    Args:
        references: Training rows.
        held_out: Held-out rows.
        lengths: Lengths k.
        letters: The alphabet.
    """

    def __init__(
        self, references: Sequence[str], held_out: Sequence[str], lengths: Sequence[int], letters: str
    ) -> None:
        self.letters, self.held_out = letters, held_out
        self.spectra = {k: kmer_spectrum(references, k, letters) for k in lengths}
        self.held_out_distances = lru_cache(self._held_out_distances)

    def _held_out_distances(self, count: int) -> dict[int, float | None]:
        """Return the Jensen-Shannon distance of `count` held-out rows, or of all if they are fewer, for each length."""
        some = spread(self.held_out, count)
        return {k: compare_kmers(some, spectrum, k, self.letters).distance for k, spectrum in self.spectra.items()}


def held_out_rows(data: SequenceData, count: int) -> list[str]:
    """Return at most `count` validation rows in upper case, evenly spread."""
    return spread([one.upper() for one in data.validation.with_format(None)[data.column][:]], count)


class SpecialTokens:
    """Special tokens of a tokenizer, whose names hold letters that are no bases or amino acids: `[PAD]`, `<mask>`."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        names = sorted(filter(None, tokenizer.all_special_tokens), key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, names)) or r"(?!)")

    def hidden(self, strings: Sequence[str]) -> list[str]:
        """Return the strings with one sign in place of each special token, so that other tokens keep their places."""
        return [self.pattern.sub("*", one) for one in strings]


def spread(rows: Sequence[str], count: int) -> list[str]:
    """Return at most `count` rows, evenly spread."""
    count = min(count, len(rows))
    return [rows[i * len(rows) // count] for i in range(count)]


def strings_to_draw(runs: Sequence[Run], chosen: Point) -> dict[str, list[str]]:
    """Return the samples of the chosen condition and of those without guidance, by the condition's title."""
    groups: dict[str, list[str]] = {}
    for run in runs:
        if run.condition == chosen or run.condition.data_labels or not run.condition.gamma:
            strings = [str(row["string"]) for row in run.outcome.samples]
            groups.setdefault(run.condition.title(), []).extend(strings)
    return groups


def spectra_of(groups: Mapping[str, Sequence[str]], k: int, letters: str) -> dict[str, np.ndarray]:
    """Return the k-mers of each group."""
    return {name: kmer_spectrum(strings, k, letters) for name, strings in groups.items()}
