"""Types and ranges of settings, checked before a command does anything."""

import inspect
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from discrete_diffusion.commandline.settings import nearest

LARGEST = 10**9
"""Largest integer that any setting takes, so that none overflows."""


class Settings(BaseModel):
    """Settings below one key: the type and the range of each, and no others.

    The values, defaults included, stand in the configuration. Fields with a default of None may be absent from it.
    """

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


class OpenSettings(Settings):
    """Settings below one key that may have others beside them, such as arguments of a class that the user chooses."""

    model_config = ConfigDict(extra="allow")


def _not_nan(value: float) -> float:
    if math.isnan(value):
        raise ValueError("a number")
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("a text that is not empty")
    return value


Count = Annotated[int, Field(ge=1, le=LARGEST)]
Natural = Annotated[int, Field(ge=0, le=LARGEST)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Number = Annotated[float, AfterValidator(_not_nan)]
"""Number that may be infinite."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Text = Annotated[str, AfterValidator(_not_blank)]


class _Unknown:
    """Value that is known only once the command runs."""


UNKNOWN = _Unknown()


def check_settings(config: DictConfig, schema: type[Settings], *, ignored: Collection[str] = ("hydra",)) -> None:
    """Check the type and the range of every setting.

    A setting that refers to one which is filled in later is left out.

    Args:
        config: The composed configuration.
        schema: Schema of its settings.
        ignored: Keys at the top that are not checked.

    Raises:
        ValueError: For the first setting that is unknown, of another type or out of range.
    """
    values = {name: child for name, child in _values(config).items() if name not in ignored}
    try:
        schema.model_validate(values)
    except ValidationError as error:
        _report(error, values, schema)


def check_targets(config: DictConfig, *, fills_in: bool = False) -> None:
    """Check the arguments of every `_target_` against its signature: their names, and the types of plain values.

    Args:
        config: Configuration, whose targets the caller trusts.
        fills_in: Whether the command fills in settings that are null, so that references to them have no type yet.

    Raises:
        ValueError: For the first target that cannot be imported, takes no argument of a name, or takes another type.
    """
    for name, found in _nodes(_values(config, fills_in=fills_in), ""):
        target = found["_target_"]
        if target is None:
            _expect_no_arguments(found, name)
        if target is None or target is UNKNOWN or target == "???":
            continue
        if not isinstance(target, str):
            raise ValueError(f"Expected `{name}._target_` to be a text, got {target!r:.80}.")
        for flag in ("_partial_", "_recursive_"):
            if not isinstance(found.get(flag, False), bool | _Unknown):
                raise ValueError(f"Expected `{name}.{flag}` to be true or false, got {found[flag]!r:.80}.")
        try:
            function = get_object(target)
        except (Exception, SystemExit) as error:  # modules of the user run here
            reason = next(iter(str(error.__cause__ or error).splitlines()), "") or type(error).__name__
            raise ValueError(
                f"Expected `{name}._target_` to name a class or function, got {target}: {reason.rstrip('.')}."
            ) from error
        check_arguments(function, found, name)


def _expect_no_arguments(found: Mapping[str, Any], name: str) -> None:
    for key, value in found.items():
        if not (key.startswith("_") and key.endswith("_")) and value is not None:
            raise ValueError(f"Nothing reads `{name}.{key}` unless `{name}._target_` names a class or function.")


def check_arguments(function: Any, arguments: Mapping[str, Any], name: str) -> None:
    """Check arguments against the signature of a function or class.

    Args:
        function: The function or class.
        arguments: Its arguments; keys of Hydra such as `_target_` count as none.
        name: Dotted name of the arguments in messages.

    Raises:
        ValueError: If it is not callable, does not take an argument, or takes another type.
    """
    if not callable(function):
        raise ValueError(f"Expected `{name}._target_` to name a class or function, got {arguments['_target_']}.")
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some functions that are written in C have none
        return
    hints = _hints(function)
    anything = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    for key, value in arguments.items():
        key = str(key)
        if key.startswith("_") and key.endswith("_"):
            continue
        if key not in parameters:
            if anything:
                continue
            raise ValueError(f"Unknown setting {name}.{key}{nearest(key, parameters)}")
        default = parameters[key].default
        if value is None and default is inspect.Parameter.empty and get_origin(hints.get(key)) is Callable:
            raise ValueError(f"Expected `{name}.{key}` to be named entries with a `_target_`, got null.")
        plain = value is UNKNOWN or value == "???" or (isinstance(value, Mapping) and "_target_" in value)
        if plain or key not in hints or (value is None and default is None):
            continue
        try:
            TypeAdapter(_plain(hints[key]), config=ConfigDict(strict=True)).validate_python(value)
        except ValidationError as error:
            _report(error, value, None, name=f"{name}.{key}")


def check_present(config: DictConfig, keys: Collection[str] | None = None) -> None:
    """Check that no setting is missing.

    Args:
        config: The composed configuration.
        keys: Keys at the top to look under; None is all.

    Raises:
        ValueError: For the first setting that is `???`.
    """
    for name in _missing(_values(config), ""):
        if keys is None or name.partition(".")[0] in keys:
            raise ValueError(f"Expected a value for `{name}`: it has none by default.")


def _missing(node: Any, name: str) -> Iterator[str]:
    if node == "???":
        yield name
    for key, child in node.items() if isinstance(node, Mapping) else ():
        yield from _missing(child, f"{name}.{key}" if name else str(key))


def _hints(function: Any) -> dict[str, Any]:
    described = function.__init__ if inspect.isclass(function) else function
    try:
        return get_type_hints(described)
    except Exception:  # names that stand under TYPE_CHECKING
        return {}


def _plain(kind: Any) -> Any:
    """Return a type of the values that a configuration can hold instead of `kind`, or Any."""
    if kind is float:
        return Number
    if kind is int:
        return Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
    if kind in (bool, str, NoneType) or get_origin(kind) is Literal:
        return kind
    if kind is Path:
        return str
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        members = [one for one in map(_plain, inner) if one is not Any]
        # A union of objects alone, or one of everything.
        return Union[tuple(members)] if set(members) - {NoneType} and Any not in inner else Any  # noqa: UP007
    if inspect.isclass(origin) and issubclass(origin, Sequence | Collection) and not issubclass(origin, Mapping):
        return list[_plain(inner[0])] if inner else list  # type: ignore[misc]
    return Any


def _values(node: Any, *, fills_in: bool = True) -> Any:
    """Return the values of a configuration; those that cannot be known yet as `UNKNOWN`, missing ones as "???"."""
    if isinstance(node, DictConfig):
        if node._is_none() or node._is_missing():
            return None if node._is_none() else "???"
        return {str(name): _entry(node, name, fills_in) for name in node}
    if OmegaConf.is_list(node):
        return [_entry(node, index, fills_in) for index in range(len(node))]
    return node


def _entry(node: Any, name: Any, fills_in: bool) -> Any:
    if OmegaConf.is_missing(node, name):
        return "???"
    try:
        value = _values(node[name], fills_in=fills_in)
    except (OmegaConfBaseException, ValueError):
        return UNKNOWN
    return UNKNOWN if fills_in and value is None and OmegaConf.is_interpolation(node, name) else value


def _nodes(node: Any, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every dictionary with a target, and its dotted name."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield name, node
        for key, child in node.items():
            yield from _nodes(child, f"{name}.{key}" if name else str(key))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from _nodes(child, f"{name}[{index}]")


EXPECTED = {
    "int_type": "to be an integer",
    "int_from_float": "to be an integer",
    "int_parsing_size": "to be an integer of a reasonable size",
    "float_type": "to be a number",
    "finite_number": "to be a finite number",
    "bool_type": "to be true or false",
    "string_type": "to be a text",
    "list_type": "to be a list",
    "dict_type": "to be named entries",
    "model_type": "to be named entries",
    "model_attributes_type": "to be named entries",
    "none_required": "to be null",
    "greater_than_equal": ">= {ge}",
    "greater_than": "> {gt}",
    "less_than_equal": "<= {le}",
    "less_than": "< {lt}",
    "literal_error": "to be one of {expected}",
    "too_short": "to have {min_length} entries or more",
    "too_long": "to have {max_length} entries or fewer",
}
"""Expected values, for each kind of error of pydantic."""


def _report(error: ValidationError, values: Any, schema: type[Settings] | None, name: str = "") -> None:
    """Raise the first problem of a validation that has a known value.

    Raises:
        ValueError: If there is such a problem.
    """
    problems: dict[str, list[Any]] = {}
    for one in error.errors(include_url=False):
        if one["input"] is UNKNOWN or (one["input"] == "???" and one["type"] != "extra_forbidden"):
            continue
        problems.setdefault(_path(one["loc"], values, name, absent=one["type"] == "missing"), []).append(one)
    if not problems:
        return
    # Others refer to the setting nearest to the top.
    path, found = min(problems.items(), key=lambda item: item[0].count("."))
    kinds = {one["type"] for one in found}
    if kinds == {"extra_forbidden"}:
        *_, last = path.split(".")
        raise ValueError(f"Unknown setting {path}{nearest(last, _fields(schema, found[0]['loc'][:-1]))}")
    if kinds == {"missing"}:
        raise ValueError(f"Expected the setting `{path}`, but it was removed.")
    expectations = list(dict.fromkeys(_expected(one) for one in found))
    if "to be a number" in expectations and "to be an integer" in expectations:
        expectations.remove("to be an integer")
    expected = " or ".join(expectations)
    # A union names the other types that it takes; "to be" once is enough.
    expected = expected.replace(" or to be ", " or ")
    raise ValueError(f"Expected `{path}` {expected}, got {found[0]['input']!r:.80}.")


def _expected(problem: Any) -> str:
    context = problem.get("ctx", {})
    if problem["type"] == "value_error":
        return f"to be {context['error']}"
    words = EXPECTED.get(problem["type"])
    if words is None:
        return f"to be another value ({problem['msg']})"
    return words.format(**{key: f"{value:,}" if isinstance(value, int) else value for key, value in context.items()})


def _path(location: Sequence[Any], values: Any, name: str, *, absent: bool) -> str:
    """Return the dotted name of a setting: pydantic adds the member of a union that it has tried."""
    path = name
    for part in location:
        if isinstance(values, Mapping) and part in values:
            path, values = f"{path}.{part}" if path else str(part), values[part]
        elif isinstance(values, list) and isinstance(part, int):
            path, values = f"{path}[{part}]", values[part]
        elif absent and part == location[-1]:
            path = f"{path}.{part}" if path else str(part)
    return path


def _fields(schema: Any, location: Sequence[Any]) -> list[str]:
    """Return the names of the settings at a place of a schema."""
    for part in location:
        if inspect.isclass(schema) and issubclass(schema, BaseModel) and part in schema.model_fields:
            schema = schema.model_fields[part].annotation
        elif get_origin(schema) is dict:
            schema = get_args(schema)[1]
        models = [one for one in get_args(schema) if inspect.isclass(one) and issubclass(one, BaseModel)]
        schema = models[0] if models else schema
    return list(schema.model_fields) if inspect.isclass(schema) and issubclass(schema, BaseModel) else []
