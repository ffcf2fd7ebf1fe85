"""Public names and parameters of each package, against its version."""

import runpy
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

ROOT = Path(__file__).parents[1]
api = runpy.run_path(str(ROOT / "scripts" / "api.py"))
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))

OLD = ["Ramp(start, end=)", "Ramp.__call__(t)", "Ramp.low", "Strength", "sample(kernel, xt, *, y=, generator=)"]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_offers_what_its_snapshot_says(package: str):
    assert api["problem"](package, write=False) is None


@pytest.mark.parametrize(
    ("old", "new", "loss"),
    [
        ("f(a, b=)", None, "`f` is gone"),
        ("f(a, b=)", "f(a)", "`f` has no `b`"),
        ("f(a, *, b=)", "f(a)", "`f` has no `b`"),
        ("f(a)", "f(a, b)", "`f` needs `b`"),
        ("f(a)", "f(a, *, b)", "`f` needs `b`"),
        ("f(a, b=)", "f(a, b)", "`f` needs `b`"),
        ("f(a, *, b=)", "f(a, *, b)", "`f` needs `b`"),
        ("f(a, b=, c=)", "f(a, c=, b=)", "`f` has `b` in another place, `f` has `c` in another place"),
        ("f(a, b=)", "f(a, new=, b=)", "`f` has `b` in another place"),
        ("f(a, b=)", "f(a, *, b=)", "`f` has `b` in another place"),
        ("f(a)", "f(a, /)", "`f` has `a` by place alone"),
        ("f(a, *more)", "f(a)", "`f` takes fewer arguments"),
        ("f(a, **more)", "f(a)", "`f` takes fewer arguments"),
        ("f()", "f", "`f` is not called any more"),
        ("f", None, "`f` is gone"),
    ],
)
def test_what_breaks_a_call_is_named(old: str, new: str | None, loss: str):
    assert ", ".join(api["losses"](["e", old], ["e"] if new is None else ["e", new])) == loss


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("f(a)", "f(a, b=)"),
        ("f(a)", "f(a, *, b=)"),
        ("f(a, b)", "f(a, b=)"),
        ("f(a, *, b)", "f(a, b)"),
        ("f(a, /)", "f(b, /)"),
        ("f(a, /)", "f(b)"),
        ("f(a, *times, b=)", "f(a, *times, c=, b=, **more)"),
        ("f", "f(a)"),
    ],
)
def test_what_breaks_no_call_is_allowed(old: str, new: str):
    assert api["losses"]([old], [new, "g(a)"]) == []


def test_a_class_takes_its_methods_along():
    assert api["losses"](OLD, OLD[3:]) == ["`Ramp` is gone"]
    assert api["losses"](OLD, OLD[:1] + OLD[3:]) == ["`Ramp.__call__` is gone", "`Ramp.low` is gone"]


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        ("0.1.0", "0.1.0", False),
        ("0.1.0", "0.1.1", False),
        ("0.1.9", "0.2.0", True),
        ("0.2.0", "0.1.0", False),
        ("0.9.0", "1.0.0", True),
        ("1.0.0", "1.1.0", False),
        ("1.9.0", "2.0.0", True),
    ],
)
def test_only_some_versions_may_break(old: str, new: str, allowed: bool):
    assert api["may_break"](old, new) is allowed
    refusal = api["refusal"]("guidance", (old, OLD), (new, OLD[:-1]))
    assert (refusal is None) is allowed
    assert api["refusal"]("guidance", (old, OLD), (new, [*OLD, "more"])) is None


def test_a_refusal_says_what_is_lost_and_what_to_do():
    refusal = api["refusal"]("guidance", ("0.1.0", OLD), ("0.1.1", [*OLD[:-1], "sample(kernel)"]))
    assert refusal.startswith("guidance: `sample` has no `xt`, `sample` has no `y`, `sample` has no `generator`. ")
    assert refusal.endswith("needs a minor version above 0.1.0, got 0.1.1: run `uv run just bump guidance minor`.")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose version is 0.1.0 and whose one public name is `f(a)`."""
    folder = tmp_path / "packages" / "made_up"
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nversion = "0.1.0"\n')
    monkeypatch.setitem(api["problem"].__globals__, "ROOT", tmp_path)
    monkeypatch.setitem(api["problem"].__globals__, "taken", lambda package, known: ["f(a)"])
    return folder


def test_a_snapshot_is_written_and_then_holds(package: Path):
    stale = "made_up: api.txt is not what the package offers: run `uv run just api`."
    assert api["problem"]("made_up", write=False) == stale
    assert api["problem"]("made_up", write=True) is None
    assert (package / "api.txt").read_text() == "0.1.0\nf(a)\n"
    assert api["problem"]("made_up", write=False) is None
    (package / "pyproject.toml").write_text('[project]\nversion = "0.1.1"\n')
    assert api["problem"]("made_up", write=False) == stale


def test_a_snapshot_that_would_lose_a_name_is_not_written(package: Path):
    (package / "api.txt").write_text("0.1.0\nf(a)\ng()\n")
    for write in (False, True):
        assert "`g` is gone" in api["problem"]("made_up", write=write)
    assert (package / "api.txt").read_text() == "0.1.0\nf(a)\ng()\n"
    (package / "pyproject.toml").write_text('[project]\nversion = "0.2.0"\n')
    assert api["problem"]("made_up", write=True) is None
    assert (package / "api.txt").read_text() == "0.2.0\nf(a)\n"


def call(a, b: int = 3, /, c=None, *rest: str, d, e=object(), **more) -> None:  # noqa: B008
    pass


class Plan(Protocol):
    def __call__(self, xt: int) -> int: ...


class Pair(NamedTuple):
    first: int
    second: int = 0

    @property
    def both(self) -> int:
        return self.first + self.second


class Made(Pair):
    @classmethod
    def of(cls, text: str, *, strict: bool = True) -> "Made":
        return cls(int(text))

    def _hidden(self) -> None:
        pass

    def shown(self, /, other) -> None:
        pass


def test_lines_hold_names_and_defaults_and_no_values(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(api["members"].__globals__, "OURS", __name__)
    assert api["lines_of"]("call", call) == ["call(a, b=, /, c=, *rest, d, e=, **more)"]
    assert api["lines_of"]("Plan", Plan) == ["Plan", "Plan.__call__(xt)"]
    assert api["lines_of"]("Made", Made) == [
        "Made(first, second=)",
        "Made.both",
        "Made.of(text, *, strict=)",
        "Made.shown(other)",
    ]
    assert api["lines_of"]("SIZE", {"hidden_size": 3}) == ["SIZE"]
    assert api["lines_of"]("Strength", int | float) == ["Strength"]


def test_a_name_whose_extra_is_missing_stays_as_it_was(monkeypatch: pytest.MonkeyPatch):
    class Module:
        __all__ = ("Curve", "f")
        f = staticmethod(call)

        @property
        def Curve(self):  # noqa: N802
            raise ModuleNotFoundError("install `plots`")

    monkeypatch.setitem(api["taken"].__globals__, "import_module", lambda name: Module())
    known = ["Curve(x)", "Curve.low", "CurveFit(x)", "f()"]
    assert api["taken"]("made_up", known) == ["Curve(x)", "Curve.low", "f(a, b=, /, c=, *rest, d, e=, **more)"]
    with pytest.raises(ModuleNotFoundError, match="plots"):
        api["taken"]("made_up")
