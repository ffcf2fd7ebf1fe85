"""Samples in the report."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.datasets import Label
from discrete_diffusion.evaluator.domains.domain import Run
from discrete_diffusion.evaluator.domains.report_layout import ReportLayout
from discrete_diffusion.evaluator.embedded_pictures import drawn
from discrete_diffusion.evaluator.point import Point
from discrete_diffusion.evaluator.report_numbers import number

MOST, IN_ALL = 24, 360  # samples of a condition, and of all
APART = ("string", "canonical", "valid", "novel", "property")

Runs = list[list[str]]


def shown_samples(
    runs: Sequence[Run], checkpoint: Checkpoint, layout: ReportLayout, illustrate: Any
) -> list[dict[str, Any]]:
    """Return the first samples of the first seed of each condition, at most 24, and about 360 in total.

    Args:
        runs: Runs of the evaluation.
        checkpoint: The generator.
        layout: Layout of the domain.
        illustrate: Function from a string and a size to its picture, or None.
    """
    first: dict[Point, Run] = {}
    for run in runs:
        first.setdefault(run.condition, run)
    count = min(MOST, max(IN_ALL // len(first), 4))
    return [
        {
            "guidance": condition.sampler
            or condition.row.replace("_", " ")
            or condition.guidance.replace("none", "unguided"),
            "gamma": None if condition.gamma is None or condition.sampler else number(condition.gamma),
            "title": condition.title(),
            "seed": run.seed,
            "total": len(run.outcome.samples),
            "samples": [
                _sample(
                    row, checkpoint.tokenizer, layout, illustrate, _requested_class(condition, index, checkpoint.label)
                )
                for index, row in enumerate(run.outcome.samples[:count])
            ],
        }
        for condition, run in first.items()
    ]


def colored(text: str, tokenizer: PreTrainedTokenizerBase, layout: ReportLayout) -> Runs:
    """Split a string into runs [kind, text] of one kind.

    The kinds of text are "word", "piece" (the rest of a word of several tokens), "number", "mark" and "special"; those
    of layouts that do not split words are "plain" and "special".
    """
    specials = [token for token in tokenizer.all_special_tokens if token]
    pattern = "|".join(re.escape(one) for one in sorted(specials, key=len, reverse=True))
    runs: Runs = []
    for part in re.split(f"({pattern})", text) if pattern else [text]:
        if part in specials:
            runs.append(["special", part])
        elif part:
            runs += _words(part, tokenizer) if layout.splits_words else [["plain", part]]
    return runs


def _requested_class(condition: Point, index: int, label: Label | None) -> str | None:
    """Return the requested class of a sample, if the classes are requested in turn."""
    return label.class_names[index % condition.each] if condition.each and label is not None else None


def _sample(
    row: Mapping[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    layout: ReportLayout,
    illustrate: Any,
    requested: str | None,
) -> dict[str, Any]:
    string, longest = str(row["string"]), layout.longest
    shown: dict[str, Any] = {"text": colored(string[:longest], tokenizer, layout), "more": 0}
    if not layout.pictures_alone:
        shown["more"] = max(len(string) - longest, 0)
    if layout.picture_side is not None and illustrate is not None:
        shown["picture"] = drawn(illustrate, string, layout.picture_side, layout.picture_colors)
    shown["valid"] = bool(row.get("valid", True))
    shown["novel"] = bool(row["novel"]) if row.get("novel") is not None else None
    value = row.get("property")
    shown["value"] = None if value is None else number(value)
    shown["notes"] = [["requested class", requested]] if requested is not None else []
    shown["notes"] += [[name.replace("_", " "), _say(value)] for name, value in row.items() if name not in APART]
    return shown


def _words(text: str, tokenizer: PreTrainedTokenizerBase) -> Runs:
    read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    spans = [(start, end) for start, end in read["offset_mapping"] if end > start]
    whole = any(end - start > 1 for start, end in spans)  # else letters are tokens, and none is the rest of a word
    runs: Runs = []
    at = 0
    for start, end in spans:
        token = text[start:end]
        joined = start > 0 and text[start - 1].isalnum() and token[0].isalnum()
        kind = _kind(token.strip()) if not (whole and joined) else "piece"
        _append(runs, kind, text[at:end] if start > at else token)
        at = max(at, end)
    _append(runs, "mark", text[at:])
    return runs


def _append(runs: Runs, kind: str, text: str) -> None:
    if runs and not runs[-1][1].strip():
        runs[-1] = [kind, runs[-1][1] + text]
    elif runs and (runs[-1][0] == kind or not text.strip()):
        runs[-1][1] += text
    elif text:
        runs.append([kind, text])


def _kind(token: str) -> str:
    return "number" if any(map(str.isdigit, token)) else "word" if any(map(str.isalpha, token)) else "mark"


def _say(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, float | int):
        return "–" if value is None else str(value)[:80]
    return "–" if math.isnan(value) else number(value)
