import sys
from collections import OrderedDict
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from discrete_diffusion.checkpoints.build import build, import_target
from discrete_diffusion.schedules import LogLinear


def test_what_names_no_target_stays_as_it_is():
    plain = {"a": [1, {"b": None}], "c": "discrete_diffusion.schedules.LogLinear"}
    assert build(plain) == plain
    assert build(3) == 3


def test_parts_are_built_first():
    described = {"_target_": "collections.OrderedDict", "half": {"_target_": "fractions.Fraction", "numerator": 1}}
    assert build(described) == OrderedDict(half=Fraction(1))
    assert build([{"_target_": "discrete_diffusion.schedules.LogLinear", "eps": 0.5}]) == [LogLinear(0.5)]


def test_a_partial_target_waits_for_the_rest():
    made = build({"_target_": "fractions.Fraction", "_partial_": True, "numerator": 1})
    assert isinstance(made, partial)
    assert made(denominator=4) == Fraction(1, 4)


def test_a_description_is_not_changed():
    described = {"_target_": "fractions.Fraction", "numerator": 1}
    build(described)
    assert described == {"_target_": "fractions.Fraction", "numerator": 1}


def test_an_argument_that_there_is_not_is_named():
    with pytest.raises(ValueError, match=r"discrete_diffusion.schedules.LogLinear: .*unexpected.*'epsilon'"):
        build({"_target_": "discrete_diffusion.schedules.LogLinear", "epsilon": 1})
    with pytest.raises(ValueError, match=r"'epsilon'"):
        build({"_target_": "discrete_diffusion.schedules.LogLinear", "_partial_": True, "epsilon": 1})
    with pytest.raises(ValueError, match=r"Uniform: missing a required argument: 'schedule'"):
        build({"_target_": "discrete_diffusion.processes.Uniform"})


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("schedules.LogLinear", {"eps": "0.1"}),
        ("schedules.LogLinear", {"eps": True}),
        ("schedules.LogLinear", {"eps": [0.1]}),
        ("processes.Uniform", {"schedule": {"_target_": "discrete_diffusion.schedules.LogLinear"}, "vocab_size": 4.0}),
        ("processes.Uniform", {"vocab_size": 4, "schedule": {}}),
        ("processes.Uniform", {"vocab_size": 4, "schedule": "LogLinear"}),
        ("datasets.Padded", {"longer": "never"}),
        ("datasets.table", {"path": 5}),
        ("datasets.table", {"path": ["a.csv", None]}),
    ],
)
def test_values_of_other_types_are_refused_before_the_call(target: str, arguments: dict[str, Any]):
    path = f"discrete_diffusion.{target}"
    with pytest.raises(ValueError, match=f"{path}: expected another value of '{list(arguments)[-1]}'"):
        build({"_target_": path, **arguments})


def test_a_function_hides_the_module_of_its_name():
    from discrete_diffusion.datasets import molecules

    assert import_target("discrete_diffusion.datasets.molecules") is molecules


@pytest.mark.parametrize("path", ["fractions.Fractoin", "nothing_of_this_name.x", "fractions.Fraction.x"])
def test_a_target_that_there_is_not(path: str):
    with pytest.raises(ImportError, match=path.split(".")[0]):
        import_target(path)


def test_a_target_whose_library_is_missing_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "asks_for_more").mkdir()
    (tmp_path / "asks_for_more" / "part.py").write_text("import a_missing_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_missing_library"):
        import_target("asks_for_more.part.function")
    sys.modules.pop("asks_for_more", None)
