import math
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from discrete_diffusion.eval.plots import sweep
from discrete_diffusion.eval.plots.sweep import SweepAxis, SweepPoint, draw_sweep

QED, NOVEL = SweepAxis("mean QED", better="higher", lines={"training mean": 0.46}), SweepAxis("novel", "count")
BLUE, ORANGE, BLACK = (0, 114, 178), (213, 94, 0), (31, 36, 48)
point = SweepPoint.over_seeds


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    kept: list[Figure] = []
    monkeypatch.setattr(sweep, "save_figure", lambda figure, path: kept.append(figure) or Path(path))
    return kept


def lines(axes: Axes, color: str = "#0072b2") -> int:
    """Lines that join points in a color."""
    return sum(
        one.get_color() == color and one.get_linestyle() != "None" for one in axes.lines if one.get_zorder() == 2.5
    )


def texts(figure: Figure) -> list[str]:
    return [one.get_text() for one in (*figure.texts, *figure.axes[0].texts)]


def test_over_seeds_is_the_mean_with_its_interval() -> None:
    one = point(2.0, "D-CFG", [0.5, 0.7, None], [10, 20, 0])
    assert (one.gamma, one.group, one.x.mean, one.y.mean) == (2.0, "D-CFG", pytest.approx(0.6), 10.0)
    assert one.x.half_width == pytest.approx(12.706 * 0.1, rel=1e-4)
    assert one.y.half_width == pytest.approx(4.303 * 10 / math.sqrt(3), rel=1e-4)
    assert point(2.0, "D-CFG", [None], [0]).x.mean is None


def test_every_group_and_landmark_is_drawn(tmp_path: Path) -> None:
    points = [point(g, "D-CFG", [4.2 - 0.1 * g], [60 / (1 + g)]) for g in (2, 0, 1)]
    points += [point(1, "D-CBG", [4.0], [50]), point(2, "D-CBG", [None], [30]), point(3, "D-CBG", [math.nan], [20])]
    x, y = SweepAxis("entropy, nats"), SweepAxis("perplexity", log=True, better="lower")
    path = draw_sweep(
        points,
        tmp_path / "deep" / "text.png",
        x=x,
        y=y,
        title="Text",
        start=point(0, "without guidance", [4.2], [61]),
        reference=point(0, "training data", [4.3], [25]),
    )
    with Image.open(path) as image:
        assert image.size == (1664, 800)
        assert {BLUE, ORANGE, BLACK} <= {tuple(one) for one in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}


def test_points_without_a_place_are_listed(figures: list[Figure]) -> None:
    points = [point(1, "D-CFG", [0.5], [3]), *(point(g, "D-CFG", [None], [0]) for g in (5, math.inf))]
    draw_sweep(points, "a.png", x=QED, y=NOVEL, title="", absent="no novel molecules", note="one seed")
    assert texts(figures[0])[0] == "one seed   ·   no novel molecules at γ = 5, γ = ∞"
    draw_sweep([point(1, "a", [0.0], [3])], "a.png", x=SweepAxis("cost", log=True), y=NOVEL, title="")
    assert texts(figures[1])[0] == "not measured at γ = 1"


@pytest.mark.parametrize("points", [[], [point(5, "D-CFG", [None], [0])], [point(0, "D-CFG", [0.46], [0])]])
@pytest.mark.parametrize("y", [NOVEL, SweepAxis("share", "share"), SweepAxis("seconds", log=True)])
def test_nothing_to_draw_is_no_error(points: list[SweepPoint], y: SweepAxis, tmp_path: Path) -> None:
    assert draw_sweep(points, tmp_path / "a.png", x=QED, y=y, title="").stat().st_size > 1000


def test_markers_on_the_edge_are_whole(figures: list[Figure]) -> None:
    share = SweepAxis("share", "share")
    draw_sweep(
        [point(g, "a", [x], [1 - x]) for g, x in enumerate((0.0, 0.4, 1.0))], "a.png", x=share, y=share, title=""
    )
    (axes,) = figures[0].axes
    assert axes.get_xlim() == axes.get_ylim() == (0.0, 1.0)
    assert not any(one.get_clip_on() for one in axes.lines if one.get_marker() == "o")


def test_wide_intervals_do_not_stretch_the_axes(figures: list[Figure]) -> None:
    # The interval of two seeds is 12.7 times as wide as their distance.
    points = [point(g, "a", [0.4 + 0.05 * g, 0.6 + 0.05 * g], [10, 20]) for g in (1, 2)]
    draw_sweep(points, "a.png", x=QED, y=NOVEL, title="")
    low, high = figures[0].axes[0].get_xlim()
    assert 0.2 < low < 0.46 < 0.6 < high < 0.9
    assert "bars that reach the edge extend beyond it" in texts(figures[0])[0]
    points = [point(1, "a", [0.6, 0.7], [10]), point(2, "a", [0.9, 0.98], [10])]
    draw_sweep(points, "b.png", x=SweepAxis("accuracy", "share"), y=NOVEL, title="")
    low, high = figures[1].axes[0].get_xlim()
    assert 0.2 < low < high == 1.0


def test_two_points_are_joined_only_with_intervals(figures: list[Figure]) -> None:
    start = point(0, "without guidance", [0.45], [30])
    for points in ([[0.5]], [[0.5], [0.6]], [[0.5, 0.51]]):
        given = [point(g, "a", x, [9] * len(x)) for g, x in enumerate(points, 1)]
        draw_sweep(given, "a.png", x=QED, y=NOVEL, title="", start=start)
    assert [lines(figure.axes[0]) for figure in figures] == [0, 1, 1]


def test_many_points_are_labeled_at_the_ends_of_their_group(figures: list[Figure]) -> None:
    points = [point(g, f"method {i}", [0.4 + 0.02 * i + 0.01 * g], [90 - 9 * g]) for i in range(9) for g in (1, 2, 5)]
    draw_sweep(points[:6], "a.png", x=QED, y=NOVEL, title="")
    draw_sweep(points, "b.png", x=QED, y=NOVEL, title="")
    assert [sum(one in {"1", "2", "5"} for one in texts(figure)) for figure in figures] == [6, 18]
    assert texts(figures[1])[0] == "numbers are γ, at both ends of each group"


def test_arrows_point_where_results_improve(figures: list[Figure]) -> None:
    draw_sweep([], "a.png", x=SweepAxis("seconds", log=True, better="lower"), y=QED, title="")
    (axes,) = figures[0].axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("seconds  (← better)", "mean QED  (better →)")


@pytest.mark.parametrize(
    ("band", "words", "drawn"),
    [
        ((0.55, 0.6), "requested 0.55 to 0.6", (0.55, 0.6)),
        ((0.6, math.inf), "requested > 0.6", (0.6, None)),
        ((-math.inf, 0.4), "requested < 0.4", (None, 0.4)),
    ],
)
def test_bands_reach_from_end_to_end(
    band: tuple[float, float], words: str, drawn: tuple[float | None, float | None], figures: list[Figure]
) -> None:
    x = SweepAxis("mean QED", lines={"training mean": 0.46}, bands={"requested": band})
    draw_sweep([point(1, "D-CFG", [0.5], [50])], "bands.png", x=x, y=NOVEL, title="Sweep")
    axes = figures[0].axes[0]
    limits = axes.get_xlim()
    ends = [limits[index] if end is None else end for index, end in enumerate(drawn)]
    (shown,) = axes.patches
    box = shown.get_extents().transformed(axes.transData.inverted())
    assert [box.x0, box.x1] == pytest.approx(ends)
    assert limits[0] < min(end for end in band if math.isfinite(end))
    assert limits[1] > max(end for end in band if math.isfinite(end))
    assert words in texts(figures[0])


def test_axes_are_checked() -> None:
    for band in ((0.6, 0.5), (0.5, 0.5), (-math.inf, math.inf), (0.5, math.nan)):
        with pytest.raises(ValueError, match="Expected `bands` from a lower to a higher end"):
            SweepAxis("mean QED", bands={"requested": band})
    with pytest.raises(ValueError, match="Expected a linear axis for a share"):
        SweepAxis("accuracy", "share", log=True)
    with pytest.raises(ValueError, match="Expected positive `lines`"):
        SweepAxis("seconds", log=True, lines={"none": 0.0})


@pytest.mark.parametrize("ending", ["svg", "pdf"])
def test_suffix_decides_the_format(ending: str, tmp_path: Path) -> None:
    path = draw_sweep([point(0, "a", [0.5], [10])], tmp_path / f"picture.{ending}", x=QED, y=NOVEL, title="")
    assert path.read_bytes()[:5] == {"svg": b"<?xml", "pdf": b"%PDF-"}[ending]


def test_pyplot_has_no_figure(tmp_path: Path) -> None:
    draw_sweep([point(0, "a", [0.5], [10])], tmp_path / "picture.png", x=QED, y=NOVEL, title="")
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
