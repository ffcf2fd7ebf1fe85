"""Lines against cost."""

from pathlib import Path

import pytest
from PIL import Image

from discrete_diffusion.eval import ConfidenceInterval, CostPanel, confidence_interval, draw_cost_panels


def number(*values: float) -> ConfidenceInterval:
    return confidence_interval(values)


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_panels_stand_in_rows_and_columns(tmp_path: Path):
    lines = {
        "plain": [(8.0, number(0.2, 0.3)), (64.0, number(0.5, 0.6))],
        "one point": [(21.0, number(0.7))],
        "not measured": [(5.0, confidence_interval([]))],
    }
    panels = [
        CostPanel("Quality", "valid", lines, share=True),
        CostPanel("Diversity", "entropy", lines, marks={"training data": 0.4}),
    ]
    one = draw_cost_panels(panels, tmp_path / "one.png", x_label="evaluations", note="one seed")
    two = draw_cost_panels(panels, tmp_path / "two.png", x_label="evaluations", columns=2)
    (w1, h1), (w2, h2) = map(size, (one, two))
    assert w2 == 2 * w1
    assert h1 > 1.9 * h2


def test_a_panel_without_numbers_says_so_and_none_is_refused(tmp_path: Path):
    assert draw_cost_panels([CostPanel("Quality", "valid", {})], tmp_path / "a.png", x_label="cost").is_file()
    with pytest.raises(ValueError, match="Expected at least one panel"):
        draw_cost_panels([], tmp_path / "b.png", x_label="cost")
