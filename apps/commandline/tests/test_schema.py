"""Types and ranges of settings."""

from collections.abc import Sequence
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pydantic import ValidationError

from discrete_diffusion.commandline.schema import (
    Count,
    Finite,
    Number,
    OpenSettings,
    Settings,
    Share,
    Text,
    check_arguments,
    check_present,
    check_settings,
    check_targets,
)


class Part(OpenSettings):
    size: Count | None = None


class Example(Settings):
    steps: Count
    share: Share | None
    gammas: list[Finite]
    weight: Number
    name: Text
    exact: bool
    part: Part
    rest: dict[str, Part]


GOOD = {
    "steps": 3,
    "share": 0.5,
    "gammas": [0, 1.5],
    "weight": float("-inf"),
    "name": "a",
    "exact": True,
    "part": {"size": None, "other": [1]},
    "rest": {"one": {"size": 2}},
}


def check(**changes: Any) -> None:
    check_settings(OmegaConf.create({**GOOD, **changes}), Example)


def test_settings_of_the_right_types_are_accepted():
    check()
    check(share=None, steps=1, gammas=[], weight=float("inf"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": "abc"}, "Expected `steps` to be an integer, got 'abc'."),
        ({"steps": "3"}, "Expected `steps` to be an integer, got '3'."),
        ({"steps": 4.5}, "Expected `steps` to be an integer, got 4.5."),
        ({"steps": True}, "Expected `steps` to be an integer, got True."),
        ({"steps": None}, "Expected `steps` to be an integer, got None."),
        ({"steps": [3]}, "Expected `steps` to be an integer, got [3]."),
        ({"steps": {"a": 1}}, "Expected `steps` to be an integer, got {'a': 1}."),
        ({"steps": float("nan")}, "Expected `steps` to be an integer, got nan."),
        ({"steps": 0}, "Expected `steps` >= 1, got 0."),
        ({"steps": -1}, "Expected `steps` >= 1, got -1."),
        ({"steps": 10**30}, "Expected `steps` <= 1,000,000,000, got"),
        ({"share": 1.5}, "Expected `share` <= 1.0, got 1.5."),
        ({"share": float("nan")}, "Expected `share` to be a finite number, got nan."),
        ({"share": float("inf")}, "Expected `share` to be a finite number, got inf."),
        ({"share": False}, "Expected `share` to be a number, got False."),
        ({"gammas": 5}, "Expected `gammas` to be a list, got 5."),
        ({"gammas": [[1]]}, "Expected `gammas[0]` to be a number, got [1]."),
        ({"gammas": None}, "Expected `gammas` to be a list, got None."),
        ({"weight": float("nan")}, "Expected `weight` to be a number, got nan."),
        ({"name": " "}, "Expected `name` to be a text that is not empty, got ' '."),
        ({"name": 5}, "Expected `name` to be a text, got 5."),
        ({"exact": "yes"}, "Expected `exact` to be true or false, got 'yes'."),
        ({"part": 3}, "Expected `part` to be named entries, got 3."),
        ({"part": {"size": 0}}, "Expected `part.size` >= 1, got 0."),
        ({"rest": {"one": {"size": "a"}}}, "Expected `rest.one.size` to be an integer, got 'a'."),
        ({"stpes": 3}, "Unknown setting stpes: did you mean steps?"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=r"Expected|Unknown") as caught:
        check(**changes)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_removed_setting_is_named():
    config = OmegaConf.create({name: value for name, value in GOOD.items() if name != "steps"})
    with pytest.raises(ValueError, match="Expected the setting `steps`, but it was removed"):
        check_settings(config, Example)


def test_a_setting_that_is_filled_in_later_is_left_out():
    check(steps="${facts.steps}", part="${missing}")


def test_the_setting_is_named_and_none_that_refers_to_it():
    with pytest.raises(ValueError, match="`steps`"):
        check(steps="abc", part={"size": "${steps}"})


def build(size: int, rate: float = 0.1, order: Sequence[int] = (), kind: Literal["a", "b"] = "a") -> None:
    """Take some arguments."""


def build_any(size: int, **options: Any) -> None:
    """Take any arguments."""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 1.5}, "Expected `network.size` to be an integer, got 1.5."),
        ({"size": None}, "Expected `network.size` to be an integer, got None."),
        ({"rate": "a"}, "Expected `network.rate` to be a number, got 'a'."),
        ({"rate": float("nan")}, "Expected `network.rate` to be a number, got nan."),
        ({"order": 3}, "Expected `network.order` to be a list, got 3."),
        ({"order": [1, "x"]}, "Expected `network.order[1]` to be an integer, got 'x'."),
        ({"kind": "c"}, "Expected `network.kind` to be one of 'a' or 'b', got 'c'."),
        ({"rte": 3}, "Unknown setting network.rte: did you mean rate?"),
    ],
)
def test_arguments_are_checked_against_the_signature(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=r"Expected|Unknown") as caught:
        check_arguments(build, {"size": 1, **arguments}, "network")
    assert str(caught.value) == message


def test_arguments_that_the_signature_takes_are_accepted():
    check_arguments(build, {"size": 3, "rate": 1, "order": [2, 1], "kind": "b", "_partial_": True}, "network")
    check_arguments(build_any, {"size": 3, "other": "x"}, "network")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nope.x", "Expected `part._target_` to name a class or function, got nope.x: "),
        ("math.nope", "Expected `part._target_` to name a class or function, got math.nope: "),
        ("math.pi", "Expected `part._target_` to name a class or function, got math.pi."),
        (5, "Expected `part._target_` to be a text, got 5."),
    ],
)
def test_a_target_that_cannot_be_built_is_named_in_one_line(target: Any, message: str):
    with pytest.raises(ValueError, match=r"Expected|Unknown") as caught:
        check_targets(OmegaConf.create({"part": {"_target_": target}}))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_missing_setting_is_named():
    config = OmegaConf.create({"label": {"column": "???"}, "filled": "???"})
    check_present(config, ["other"])
    with pytest.raises(ValueError, match=r"Expected a value for `label.column`"):
        check_present(config, ["label"])


TEXTS = st.text(st.characters(exclude_characters="$\n", exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc_", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(name=st.sampled_from([*GOOD, "stepss"]), value=VALUES)
def test_any_value_is_accepted_or_refused_in_one_line(name: str, value: Any):
    try:
        check(**{name: value})
    except ValidationError:
        pytest.fail("an error of pydantic")
    except ValueError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message


def test_arguments_without_a_target_are_refused():
    check_targets(OmegaConf.create({"sampler": {"_target_": None, "_partial_": True, "steps": None}}))
    with pytest.raises(ValueError, match=r"Nothing reads `sampler\.steps` unless `sampler\._target_` names"):
        check_targets(OmegaConf.create({"sampler": {"_target_": None, "steps": 3}}))
