"""Pictures of docs/figures: drawn, on a page, and of an exact world."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "figures"
SHARED = {"panels", "sampler_paths", "world"}
SLOW = {"best_of_n", "nos", "particles", "pplm", "samplers", "svdd"}
NAMES = sorted(path.stem for path in FIGURES.glob("*.py") if path.stem not in SHARED)
F64 = torch.float64


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch):
    """Import a file of the folder as running it does, its folder first on the path, and forget it afterwards."""
    monkeypatch.syspath_prepend(str(FIGURES))
    before = set(sys.modules)
    yield importlib.import_module
    for name in {*NAMES, *SHARED} - before:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in NAMES])
def test_it_is_drawn(name: str, figure, tmp_path: Path):
    target = tmp_path / "figure.png"
    before = torch.random.get_rng_state()
    figure(name).draw(target)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert target.stat().st_size < 100_000
    with Image.open(target) as drawn:
        assert drawn.format == "PNG"
        assert min(drawn.size) > 200
        assert len(drawn.convert("RGB").getcolors(2**24)) > 8


@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_it(name: str):
    picture = f"/{name.replace('_', '-')}.png)"
    assert any(picture in page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    (path,) = (ROOT / "docs" / "images").rglob(picture[1:-1])
    assert path.stat().st_size < 100_000


def test_the_paths_of_samplers_are_drawn(figure, tmp_path: Path):
    paths = figure("sampler_paths")
    for name in paths.SAMPLERS:
        page = (ROOT / "docs" / "samplers" / f"{name}.md").read_text()
        assert f"](../images/samplers/{name}.png)" in page
    for name in ("remasking", "settling"):
        paths.draw(name, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as drawn:
            assert drawn.format == "PNG"
            assert min(drawn.size) > 200


@pytest.mark.parametrize("noise", ["UNIFORM", "ABSORBING"])
def test_the_world_is_what_enumeration_says(noise: str, figure, oracle):
    world = figure("world")
    process = getattr(world, noise)
    exact, v = world.World(process), process.vocab_size
    joint = torch.zeros(v, v, dtype=F64)
    joint[:16, :16] = world.ring()
    likelihood = torch.full((v, v, 2), 0.5, dtype=F64)
    likelihood[:16, :16] = world.classes()
    known = oracle(joint, process.log_noise(joint).exp(), likelihood)
    t = torch.full((v * v,), 0.6, dtype=F64)
    alpha = float(process.schedule.alpha(t)[0])

    for y in (None, 0, 1):
        label = {} if y is None else {"y": torch.full_like(t, y, dtype=torch.int64)}
        log_x0 = exact.denoiser(known.sequences, t, **label)
        expected = known.leave_one_out(alpha, y) if noise == "UNIFORM" else known.denoiser(alpha, y)
        torch.testing.assert_close(log_x0.exp(), expected, rtol=1e-9, atol=1e-12)
    onehot = torch.nn.functional.one_hot(known.sequences, v).double()
    for x in (known.sequences, onehot):
        torch.testing.assert_close(exact.classifier(x, t).exp(), known.classifier(alpha), rtol=1e-9, atol=1e-12)
    times = torch.tensor([1.0, 0.5, 0.0], dtype=F64)
    distribution = known.distribution(exact.kernel, times.tolist()).view(v, v)[:16, :16]
    torch.testing.assert_close(exact.distribution(exact.kernel, times), distribution, rtol=1e-9, atol=1e-12)


def test_the_world_from_left_to_right_is_the_chain_rule(figure):
    world = figure("world")
    model = world.LeftToRight()
    torch.testing.assert_close(model.distribution(model), world.target(0))
    label = torch.ones(16, dtype=torch.int64)
    torch.testing.assert_close(model.distribution(lambda x, t: model(x, t, y=label)), world.target(1))
    x = torch.cartesian_prod(torch.arange(16), torch.arange(16))
    torch.testing.assert_close(model.likelihood(x, torch.zeros(256)), world.reward(x).to(F64))
    distribution = model(x, torch.ones(256))[:, 1].exp()
    expected = torch.einsum("nj,nj->n", distribution, world.classes()[x[:, 0], :, 1])
    torch.testing.assert_close(model.likelihood(x[:, :1], torch.ones(256)).exp(), expected)
