from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("rdkit")

from PIL import Image

from discrete_diffusion.eval import draw_denoising, molecule_image

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


def test_left_to_right_states_grow_and_the_empty_one_is_not_illustrated(tmp_path: Path) -> None:
    drawn: list[str] = []

    def illustrate(text: str, size: tuple[int, int]):
        drawn.append(text)

    states = [["C", "C", "O"][:count] for count in range(4)]
    with Image.open(draw_denoising([states], tmp_path / "a.gif", illustrate=illustrate)) as image:
        carbon = []
        for frame in range(4):
            image.seek(frame)
            carbon.append(int((np.asarray(image.convert("RGB")) == (233, 226, 211)).all(-1).sum()))
    assert drawn == ["C", "CC", "CCO"]
    assert carbon[0] == 0 < carbon[1] < carbon[2]


@pytest.mark.parametrize(("token", "width", "columns", "lines"), [("a", 30, 22, 3), ("incomprehensibility", 96, 7, 10)])
def test_cells_fit_their_tokens(token: str, width: int, columns: int, lines: int, tmp_path: Path) -> None:
    with Image.open(draw_denoising([[[token] * 64]], tmp_path / "a.gif")) as image:
        assert image.size == (2 * 18 + columns * (width + 4) - 4, 70 + lines * 38 - 4 + 16 + 34)


def test_title_does_not_run_into_the_step(tmp_path: Path) -> None:
    title = "The first samples of seed 1 (γ = 1, a class with a long name)"
    with Image.open(draw_denoising([[["A"]]], tmp_path / "a.gif", title=title)) as image:
        dark = (np.asarray(image.convert("L"))[16:32] < 200).any(0)
    # A gap of white, wider than any between words, is between the title and the step.
    gaps = "".join("x" if one else "." for one in dark).strip(".").split("x")
    assert max(map(len, gaps)) >= 20
