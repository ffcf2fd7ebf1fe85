import math
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("rdkit")

from PIL import Image

from discrete_diffusion.eval import (
    FrontierPoint,
    draw_denoising,
    draw_distribution,
    draw_frontier,
    draw_molecule_grid,
    molecule_image,
)

SPECIAL = ("<bos>", "<eos>", "<pad>")
MASKED = [
    ["<mask>"] * 5,
    ["<bos>", "C", "<mask>", "<mask>", "<mask>"],
    ["<bos>", "C", "O", "<eos>", "<pad>"],
]


def ink(path: Path) -> float:
    """Share of pixels that are not white."""
    with Image.open(path) as image:
        return float((np.asarray(image.convert("L")) < 250).mean())


def colors(image) -> set[tuple[int, int, int]]:
    return {tuple(pixel) for pixel in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}


def test_over_seeds_is_the_mean_with_its_interval() -> None:
    point = FrontierPoint.over_seeds(2.0, [0.5, 0.7, None], [10, 20, 0])
    assert (point.gamma, point.mean_property, point.novel) == (2.0, pytest.approx(0.6), 10.0)
    assert point.mean_property_error == pytest.approx(12.706 * 0.1, rel=1e-4)
    assert point.novel_error == pytest.approx(4.303 * 10 / math.sqrt(3), rel=1e-4)
    assert FrontierPoint.over_seeds(2.0, [None], [0]) == FrontierPoint(2.0, None, 0.0)


def test_frontier(tmp_path: Path) -> None:
    first = [FrontierPoint(g, 0.45 + 0.02 * g, 500 - 80 * g, 0.01, 20.0) for g in (2, 0, 1, 5)]
    second = [FrontierPoint(0, 0.45, 400), FrontierPoint(3, None, 0), FrontierPoint(4, math.nan, 0)]
    alone = draw_frontier({"D-CFG": first}, tmp_path / "deep" / "alone.png", generated=1024)
    both = draw_frontier(
        {"D-CFG": first, "D-CBG": second}, tmp_path / "both.png", training_mean=0.47, training_percentile=0.55
    )
    with Image.open(alone) as image:
        assert image.format == "PNG"
        assert image.size == (1216, 768)
        assert (0, 114, 178) in colors(image)
    with Image.open(both) as image:
        assert {(0, 114, 178), (213, 94, 0)} <= colors(image)
    assert 0.01 < ink(alone) < 0.3


@pytest.mark.parametrize(
    "series",
    [{}, {"D-CFG": []}, {"D-CFG": [FrontierPoint(5, None, 0)]}, {"D-CFG": [FrontierPoint(0, 0.5, 0)]}],
)
def test_frontier_survives_nothing(series, tmp_path: Path) -> None:
    for lines in ({}, {"training_mean": 0.4}, {"training_mean": 0.4, "training_percentile": 0.4}):
        assert ink(draw_frontier(series, tmp_path / "picture.png", **lines)) > 0.005


def test_labels_do_not_overlap() -> None:
    from discrete_diffusion.eval.plots.label_placement import place_labels
    from discrete_diffusion.eval.plots.style import new_figure

    figure = new_figure(6, 4)
    axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    points = [(0.5 + 0.01 * i, 0.5 - 0.01 * i) for i in range(6)]
    place_labels(axes, points, [f"label {i}" for i in range(6)], ["black"] * 6, [(points[0], points[-1])])
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max) for box in boxes)


@pytest.mark.parametrize("ending", ["svg", "pdf"])
def test_suffix_decides_the_format(ending: str, tmp_path: Path) -> None:
    path = draw_frontier({"D-CFG": [FrontierPoint(0, 0.5, 10)]}, tmp_path / f"picture.{ending}")
    assert path.read_bytes()[:5] == {"svg": b"<?xml", "pdf": b"%PDF-"}[ending]


def test_distribution(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    generated = {0.0: rng.normal(0.5, 0.1, 50), 2.0: [], 3.0: [0.6], 4.0: [0.7, 0.7], 5.0: [math.nan, 0.5]}
    path = draw_distribution(rng.normal(0.4, 0.1, 500), generated, tmp_path / "density.png", threshold=0.55)
    with Image.open(path) as image:
        assert image.size == (1472, 736)
        assert (201, 206, 214) in colors(image)
    rings = draw_distribution([0, 1, 1, 2], {0: [1, 2], 1: []}, tmp_path / "rings.png", property_name="rings")
    assert ink(rings) > 0.01


@pytest.mark.parametrize("training", [[], [0.5], [0.5, 0.5], [1, 1]])
@pytest.mark.parametrize("generated", [{}, {0.0: []}, {0.0: [0.3]}, {0.0: [0.2, 0.3]}])
def test_distribution_survives_little(training, generated, tmp_path: Path) -> None:
    assert ink(draw_distribution(training, generated, tmp_path / "picture.png", threshold=0.9)) > 0.003


def test_pictures_leave_pyplot_alone(tmp_path: Path) -> None:
    draw_frontier({"D-CFG": [FrontierPoint(0, 0.5, 10)]}, tmp_path / "picture.png")
    draw_distribution([0.5], {}, tmp_path / "picture.png")
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_molecule_image() -> None:
    image = molecule_image("CCO", (120, 90))
    assert image is not None
    assert image.size == (120, 90)
    assert len(colors(image)) > 3
    assert molecule_image("C1CC", (120, 90)) is None
    assert molecule_image("", (120, 90)) is None


def test_molecule_grid(tmp_path: Path) -> None:
    smiles = ["CCO", "c1ccccc1", "C1CC", "C" * 60, "N"]
    path = draw_molecule_grid(smiles, tmp_path / "grid.png", values=[0.4, 0.5, math.nan, 0.1, 0.3], columns=3, cell=100)
    with Image.open(path) as image:
        # Two pixels for each unit: margins of 14, three cells of 100 with gaps of 8; rows of 80 + 40.
        assert image.size == (2 * (2 * 14 + 3 * 100 + 2 * 8), 2 * (2 * 14 + 2 * 120 + 8))
    assert ink(path) > 0.02
    assert ink(draw_molecule_grid([], tmp_path / "empty.png", title="Novel molecules")) > 0.003
    with pytest.raises(ValueError, match="one for each"):
        draw_molecule_grid(["C"], path, values=[])
    with pytest.raises(ValueError, match="columns"):
        draw_molecule_grid(["C"], path, columns=0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0, 1.0], ["3", "1"]),
        ([0.0, 0.0], ["0", "0"]),
        ([0.57, 0.5551], ["0.570", "0.555"]),
        ([12.34, 5.0], ["12.3", "5.0"]),
        ([math.nan, 1.5], ["–", "1.50"]),
        ([], []),
    ],
)
def test_values_are_written_with_three_digits(values: list[float], expected: list[str]) -> None:
    from discrete_diffusion.eval.plots.molecule_grid import _format

    assert _format(values) == expected


def test_denoising_frames(tmp_path: Path) -> None:
    drawn: list[str] = []

    def illustrate(text: str, size: tuple[int, int]):
        drawn.append(text)
        return molecule_image(text, size)

    path = draw_denoising(
        [MASKED, MASKED], tmp_path / "a.gif", special=SPECIAL, mask="<mask>", illustrate=illustrate, hold_ms=2000
    )
    # States with a mask in them have no text; the last one has, once for each sample.
    assert drawn == ["CO", "CO"]
    with Image.open(path) as image:
        assert image.n_frames == 3
        assert image.info["loop"] == 0
        held = []
        outlined = []
        for frame in range(3):
            image.seek(frame)
            held.append(image.info["duration"])
            # The legend shows the color of the outline once; changed cells add to it.
            outlined.append(int((np.asarray(image.convert("RGB")) == (213, 94, 0)).all(-1).sum()))
            assert (255, 255, 255) in colors(image)
        assert held == [160, 160, 2000]
    assert outlined[0] < outlined[1] < outlined[2]


def test_long_trajectory_is_thinned(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    states = [[str(token) for token in row] for row in rng.choice(list("CNOF()=#1"), (101, 32))]
    path = draw_denoising([states], tmp_path / "a.gif", illustrate=molecule_image)
    assert path.stat().st_size < 1_000_000
    with Image.open(path) as image:
        assert image.n_frames == 33


def test_denoising_without_pictures_or_tokens(tmp_path: Path) -> None:
    path = draw_denoising([[["A"], ["T", "G"]]], tmp_path / "a.gif", times=[1.0, 0.0], columns=2)
    assert ink(path) > 0.01
    assert draw_denoising([[[], []]], tmp_path / "b.gif").exists()


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        ([], {}, "no samples"),
        ([[]], {}, "states"),
        ([MASKED, MASKED[:2]], {}, "same number"),
        ([MASKED], {"times": [1.0, 0.0]}, "Expected 3 `times`"),
        ([MASKED], {"columns": 0}, "columns"),
        ([MASKED], {"max_frames": 1}, "max_frames"),
    ],
)
def test_denoising_is_checked(samples, options, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        draw_denoising(samples, tmp_path / "a.gif", **options)
