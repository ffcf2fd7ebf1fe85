"""The pictures of a sweep."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from discrete_diffusion.datasets import decode
from discrete_diffusion.eval import FrontierPoint, draw_denoising, draw_distribution, draw_frontier
from discrete_diffusion.evaluator.conditions import Condition
from discrete_diffusion.guidance import State

if TYPE_CHECKING:
    from discrete_diffusion.evaluator.metrics import Metrics, Number, Run

ENOUGH = 24


def choose(runs: "Sequence[Run]", metrics: "Metrics", gamma: float | None) -> Condition:
    """The condition that is shown: of this gamma, or the one that steers farthest.

    That is the one whose novel samples' mean property, over all seeds, is farthest from the training data's, among
    those with at least 24 novel samples a seed; without such, the one with the most.

    Raises:
        ValueError: if no run has this gamma.
    """
    shown: dict[Condition, list[Run]] = {}
    for run in runs:
        if not run.condition.drawn and gamma in (None, run.condition.gamma):
            shown.setdefault(run.condition, []).append(run)
    if not shown:
        raise ValueError(f"Expected `pictures.gamma` to be one of `gammas`, got {gamma}.")

    def rank(condition: Condition) -> tuple[bool, float]:
        counts = [len(run.outcome.novel) for run in shown[condition]]
        values = [value for run in shown[condition] for value in run.outcome.values]
        center = metrics.training["mean"]
        if min(counts) < ENOUGH or center is None:
            return False, sum(counts)
        return True, abs(sum(values) / len(values) - center)

    return max(shown, key=rank)


def draw_novel_frontier(runs: "Sequence[Run]", path: Path, name: str, training: "Mapping[str, Number]") -> Path:
    """The number of novel samples against their mean property, over gamma."""
    guided = sorted((run for run in runs if run.condition.gamma is not None), key=_gamma)
    points = []
    for gamma, group in groupby(guided, key=_gamma):
        rows = [run.outcome.numbers for run in group]
        points.append(
            FrontierPoint.over_seeds(
                gamma, [row["novel_property_mean"] for row in rows], [row["novel"] or 0 for row in rows]
            )
        )
    seeds = len({run.seed for run in guided})
    return draw_frontier(
        {guided[0].condition.guidance: points},
        path,
        property_name=name,
        generated=int(guided[0].outcome.numbers["generated"] or 0),
        training_mean=training["mean"],
        training_percentile=training["p90"],
        note=f"bars: 95 % confidence intervals over {seeds} seeds" if seeds > 1 else "one seed",
    )


def draw_novel_distribution(
    runs: "Sequence[Run]", path: Path, name: str, training: Sequence[float], threshold: float | None
) -> Path:
    """The property of the novel samples of all seeds, at each gamma, over the training data's."""
    values: dict[float, list[float]] = {}
    for run in runs:
        if not run.condition.drawn:
            values.setdefault(run.condition.gamma or 0.0, []).extend(run.outcome.values)
    return draw_distribution(
        training,
        values,
        path,
        property_name=name,
        threshold=threshold,
        threshold_label="between the classes",
        title=f"{name} of novel molecules",
    )


def draw_trajectory(
    states: Sequence[State], path: Path, tokenizer: Any, illustrate: Callable[..., Any] | None, title: str
) -> Path:
    """Samples on their way from noise to data."""
    steps = [[tokenizer.convert_ids_to_tokens(row) for row in state.x.tolist()] for state in states]

    def text(tokens: Sequence[str]) -> str:
        return decode(tokenizer, torch.tensor([tokenizer.convert_tokens_to_ids(list(tokens))]))[0]

    # To noise that can be any token the mask is one as any other.
    ((commonest, _),) = Counter(chain.from_iterable(steps[0])).most_common(1)
    length = len(steps[0][0])
    return draw_denoising(
        list(zip(*steps, strict=True)),
        path,
        times=[state.t for state in states],
        special=set(tokenizer.all_special_tokens) - ({commonest} & {tokenizer.mask_token}),
        mask=commonest if commonest == tokenizer.mask_token else None,
        text=text,
        illustrate=illustrate,
        columns=math.ceil(length / math.ceil(length / 16)),
        title=title,
    )


def _gamma(run: "Run") -> float:
    assert run.condition.gamma is not None
    return run.condition.gamma
