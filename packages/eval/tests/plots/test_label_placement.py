import math

import pytest

pytest.importorskip("matplotlib")


from discrete_diffusion.eval.plots.label_placement import format_gamma, join_first, label_gammas, place_labels
from discrete_diffusion.eval.plots.style import new_figure


def test_labels_do_not_overlap() -> None:

    figure = new_figure(6, 4)
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    points = [(0.5 + 0.01 * i, 0.5 - 0.01 * i) for i in range(6)]
    place_labels(axes, points, [f"label {i}" for i in range(6)], ["black"] * 6, [(points[0], points[-1])])
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max) for box in boxes)


def test_gammas_and_names_as_text() -> None:
    assert [format_gamma(gamma) for gamma in (0.0, 2.5, math.inf)] == ["0", "2.5", "∞"]
    assert join_first(["a", "b"]) == "a, b"
    assert join_first(list("abcdef")) == "a, b, c, d and 2 more"


def test_label_keeps_its_distance_from_its_point() -> None:
    figure = new_figure(6, 4)
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    # The lines leave room on the diagonals alone.
    cross = [((0.0, 0.5), (1.0, 0.5)), ((0.5, 0.0), (0.5, 1.0))]
    place_labels(axes, [(0.5, 0.5)], ["γ = 3, 5"], ["black"], cross)
    figure.canvas.draw()
    box, (x, y) = axes.texts[0].get_window_extent(), axes.transData.transform((0.5, 0.5))
    distance = math.hypot(max(box.x0 - x, x - box.x1, 0.0), max(box.y0 - y, y - box.y1, 0.0))
    assert distance > 4.0 * figure.dpi / 72.0


def test_points_in_a_chain_share_a_label() -> None:
    figure = new_figure(6, 4)
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    points = [(0.5 + 0.01 * i, 0.5) for i in range(5)]
    label_gammas(axes, points, [0.0, 1.0, 2.0, 3.0, 5.0], ["black"] * 5, [])
    assert [text.get_text() for text in axes.texts] == ["γ = 0, 1, 2, 3, 5"]
