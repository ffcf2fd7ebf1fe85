"""Condition and titles of the pictures."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from discrete_diffusion.eval import SweepAxis
from discrete_diffusion.evaluator import pictures
from discrete_diffusion.evaluator.domains.domain import Outcome, Run
from discrete_diffusion.evaluator.pictures import choose, drawn_positions, sheet_title
from discrete_diffusion.evaluator.point import Point
from discrete_diffusion.guidance import State

DOMAIN: Any = SimpleNamespace(training={"mean": 0.5})


def run(gamma: float | None, novel: int, value: float = 0.5) -> Run:
    condition = Point("classifier_free", gamma, "long" if gamma else "unconditional", 64)
    strings = [str(index) for index in range(novel)]
    return Run(condition, 1, Outcome({}, [], strings, [value] * novel))


@pytest.mark.parametrize(
    ("runs", "gamma"),
    [
        ([run(0.0, 40, 0.1), run(1.0, 30, 0.6), run(2.0, 30, 0.8)], 2.0),  # the farthest from the training data
        ([run(0.0, 40), run(1.0, 30, 0.6), run(2.0, 3, 0.8)], 1.0),  # 3 samples say little
        ([run(0.0, 40), run(1.0, 5, 0.6), run(2.0, 3, 0.8)], 1.0),
        ([run(0.0, 40), run(2.0, 0)], 2.0),
        ([run(None, 40)], None),
    ],
)
def test_what_was_requested_is_shown(runs: list[Run], gamma: float | None) -> None:
    assert choose(runs, DOMAIN, None).gamma == gamma


@pytest.mark.parametrize(
    ("novel", "count", "title"),
    [
        (0, 0, "No novel molecules of seed 1 (γ = 2, long)"),
        (1, 1, "The only novel molecule of seed 1 (γ = 2, long)"),
        (9, 9, "All 9 novel molecules of seed 1 (γ = 2, long)"),
        (1200, 24, "The first 24 of 1,200 novel molecules of seed 1 (γ = 2, long)"),
    ],
)
def test_title_of_a_sheet_counts(novel: int, count: int, title: str) -> None:
    assert sheet_title(run(2.0, novel), "molecules", count) == title


@pytest.mark.parametrize(
    ("requested", "line", "band"),
    [
        (None, None, None),
        ((0.6, 0.6), 0.6, None),
        ((0.0, 0.0), 0.0, None),
        ((0.5, 0.6), None, (0.5, 0.6)),
        ((0.5, math.inf), None, (0.5, math.inf)),
    ],
)
def test_the_requested_value_is_marked(
    requested: tuple[float, float] | None,
    line: float | None,
    band: tuple[float, float] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    axes: list[SweepAxis] = []
    monkeypatch.setattr(pictures, "draw", lambda points, path, *, x, **options: axes.append(x) or path)
    domain: Any = SimpleNamespace(property_name="qed", noun="molecules", training={"mean": 0.5, "p90": 0.7})
    row = {"novel": 30, "generated": 64, "novel_property_mean": 0.55}
    pictures.draw_sweep([run(1.0, 30)], [row], domain, tmp_path, requested)
    assert axes[0].lines.get("requested") == line
    assert axes[0].bands.get("requested") == band


@pytest.mark.parametrize(("causal", "counts"), [(True, [0, 2, 4]), (False, [4, 4, 4])])
def test_positions_that_are_drawn(causal: bool, counts: list[int]) -> None:
    checkpoint: Any = SimpleNamespace(config={"model": {"causal": causal}})
    states = [State(t, torch.zeros(1, 4, dtype=torch.long)) for t in (1.0, 0.5, 0.0)]
    assert drawn_positions(states, checkpoint) == counts


@pytest.mark.parametrize(("condition", "title"), [("9", "γ = 2, class 9"), ("species_9", "γ = 2, species_9")])
def test_title_names_a_class_that_is_a_number(condition: str, title: str) -> None:
    assert Point("classifier_free", 2.0, condition, 64).title() == title
