"""Natural-language text."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from discrete_diffusion.datasets import SequenceData
from discrete_diffusion.eval import (
    GenerativePerplexity,
    SweepAxis,
    SweepPoint,
    distinct_n,
    draw_sweep,
    remove_special_tokens,
    split_words,
    unigram_entropy,
)
from discrete_diffusion.evaluator.domains.domain import Domain, Number, Outcome, Run, described, name_of
from discrete_diffusion.evaluator.point import Point

NGRAMS = (1, 2, 3)
JUDGED = 256  # training texts whose perplexity is computed


class Text(Domain):
    """Novelty, diversity and generative perplexity of texts.

    Special tokens inside a sample are removed before every measurement except `distinct`.

    Args:
        data: Data to compare with.
        property: Function from a text to a number. If None, the unigram entropy in nats over the tokens of the data's
            tokenizer.
        property_name: Name of the property; that of the function if None.
        perplexity_model: Causal language model of the generative perplexity, a folder or a name on the Hugging Face
            hub; None for no perplexity.
        mauve_model: Causal language model of MAUVE's features; None for no MAUVE.
        batch_size: Texts in a batch of either model.
        device: Device of both models.
        trust_remote_code: Whether code that comes with these models may run.
        known_rows: Largest number of training texts that count as known, evenly spread.
        reference_rows: Largest number of training texts for entropy and MAUVE, evenly spread.
    """

    noun = "texts"
    unit = "character"
    kinds = ("text", "strings")
    pictures = MappingProxyType({"text_frontier": "generative perplexity against unigram entropy"})
    shown: Mapping[str, str] = MappingProxyType({"distinct": "distinct", "novel": "novel"})

    def __init__(
        self,
        data: SequenceData,
        property: Callable[[str], float] | None = None,
        property_name: str | None = None,
        perplexity_model: str | None = None,
        mauve_model: str | None = None,
        batch_size: int = 16,
        device: str = "cpu",
        trust_remote_code: bool = False,
        known_rows: int = 20_000,
        reference_rows: int = 2_000,
    ) -> None:
        self.tokenizer: Any = data.tokenizer
        self.property = self.entropy if property is None else property
        self.property_name = property_name or ("unigram entropy" if property is None else name_of(property))
        settings: Any = {"batch_size": batch_size, "device": device, "trust_remote_code": trust_remote_code}
        self.perplexity = None if perplexity_model is None else GenerativePerplexity(perplexity_model, **settings)
        self.perplexity_name = Path(perplexity_model or "").name
        self.features: Callable[[Sequence[str]], np.ndarray] | None = None
        if mauve_model is not None:
            from discrete_diffusion.eval import TextFeatures

            self.features = TextFeatures(mauve_model, **settings)
        self.known = frozenset(map(_key, self._training_texts(data, known_rows)))
        self.references = [text for text in self._training_texts(data, reference_rows) if text]
        self.training = described([float(self.property(text)) for text in self.references])

    def __call__(self, strings: Sequence[str], requested: Sequence[int] | None = None) -> Outcome:
        """Compare with the training data."""
        texts = {one: self.readable(one) for one in dict.fromkeys(strings)}
        values = {one: float(self.property(text)) for one, text in texts.items() if text}
        novel = [one for one in values if _key(texts[one]) not in self.known]
        numbers: dict[str, Number] = {"generated": len(strings), "distinct": len(texts), "novel": len(novel)}
        numbers |= {f"{name}_fraction": numbers[name] / len(strings) for name in self.shown}  # type: ignore[operator]
        every = [texts[one] for one in strings]
        tokens = self._tokens(every)
        entropies = [value for one in tokens if (value := unigram_entropy(one)) is not None]
        numbers["unigram_entropy"] = math.fsum(entropies) / len(entropies) if entropies else None
        worded = [split_words(text) for text in every]
        numbers |= {f"distinct_{n}": distinct_n(worded, n) for n in NGRAMS}
        own: dict[str, Sequence[Number]] = {}
        if self.perplexity is not None:
            found = self.perplexity(every)
            numbers["generative_perplexity"] = found.perplexity
            own["perplexity"] = found.per_text
        if self.features is not None:
            numbers["mauve"] = self._mauve([text for text in every if text])
        numbers |= {f"all_property_{k}": v for k, v in described([values[o] for o in strings if o in values]).items()}
        numbers |= {f"novel_property_{k}": v for k, v in described([values[one] for one in novel]).items()}
        fresh = set(novel)
        samples = [
            {"string": one, "novel": one in fresh, "property": values.get(one)}
            | {name: column[i] for name, column in own.items()}
            for i, one in enumerate(strings)
        ]
        return Outcome(numbers, samples, novel, [values[one] for one in novel])

    def entropy(self, text: str) -> float:
        """Return the unigram entropy of a text's tokens in nats, NaN if it is empty."""
        value = unigram_entropy(self._tokens([self.readable(text)])[0])
        return math.nan if value is None else value

    def accepts(self, string: str) -> bool:
        """Return whether a text holds more than special tokens."""
        return bool(self.readable(string))

    def readable(self, string: str) -> str:
        """Return a text without special tokens."""
        return remove_special_tokens(string, self.tokenizer.all_special_tokens)

    def draw(self, runs: Sequence[Run], directory: Path, *, chosen: Point, shown: int) -> list[Path]:
        """Draw generative perplexity against entropy, if there is a language model."""
        if self.perplexity is None:
            return []
        groups: dict[tuple[str, float], list[Run]] = {}
        for run in runs:
            if not run.condition.data_labels:
                key = (
                    ("no guidance", 0.0)
                    if run.condition.gamma is None
                    else (run.condition.guidance, run.condition.gamma)
                )
                groups.setdefault(key, []).append(run)
        points = {key: _point(*key, group) for key, group in groups.items()}
        start = points.pop(("no guidance", 0.0), None)
        entropy = float(np.mean([self.entropy(text) for text in self.references]))
        training = SweepPoint.over_seeds(0.0, "training data", [entropy], [self._training_perplexity])
        seeds = len({run.seed for run in runs})
        path = draw_sweep(
            points.values(),
            directory / "text_frontier.png",
            x=SweepAxis("unigram entropy in nats", better="higher"),
            y=SweepAxis(f"generative perplexity under {self.perplexity_name}", log=True, better="lower"),
            title="Generative perplexity against entropy",
            start=start,
            reference=training,
            note=f"bars: 95 % confidence intervals over {seeds} seeds" if seeds > 1 else "one seed",
        )
        return [path]

    @cached_property
    def _training_perplexity(self) -> float | None:
        assert self.perplexity is not None
        return self.perplexity(self.references[:: -(-len(self.references) // JUDGED)]).perplexity

    @cached_property
    def _reference_features(self) -> np.ndarray:
        assert self.features is not None
        return self.features(self.references)

    def _mauve(self, texts: Sequence[str]) -> float | None:
        from discrete_diffusion.eval import mauve_score

        assert self.features is not None
        return mauve_score(self.features(texts), self._reference_features) if len(texts) > 1 else None

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        return self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []

    def _training_texts(self, data: SequenceData, rows: int) -> list[str]:
        ids = data.examples(rows)["input_ids"][:][:, : data.length]
        return [text.strip() for text in self.tokenizer.batch_decode(ids.tolist(), skip_special_tokens=True)]


def _key(text: str) -> str:
    """Return the text without white space, which is ignored when texts are compared."""
    return "".join(text.split())


def _point(group: str, gamma: float, runs: Sequence[Run]) -> SweepPoint:
    numbers = [run.outcome.numbers for run in runs]
    return SweepPoint.over_seeds(
        gamma, group, [row["unigram_entropy"] for row in numbers], [row["generative_perplexity"] for row in numbers]
    )
