"""Objects built from dictionaries with a `_target_`."""

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

RESERVED = ("_target_", "_partial_")


def build(node: Any, find: Callable[[str], Any] | None = None) -> Any:
    """Build the object that a configuration describes, parts first, as Hydra does.

    A dictionary with a `_target_`, the dotted path of a class or function, becomes the result of calling it with the
    other entries, or with `_partial_: true` a partial function of them. Everything else stays as it is.
    Every target is trusted: see `storage.read_config`.

    Args:
        node: Dictionaries and lists, as JSON holds them.
        find: Function that returns the object of a dotted path. By default, it is imported.

    Raises:
        ValueError: If a target does not take these arguments.
        ImportError: If there is no such target, or it lacks a library.
    """
    if isinstance(node, list | tuple):
        return [build(child, find) for child in node]
    if not isinstance(node, Mapping):
        return node
    arguments = {name: build(child, find) for name, child in node.items() if name not in RESERVED}
    if "_target_" not in node:
        return arguments
    path, waits = node["_target_"], node.get("_partial_", False)
    target = (find or import_target)(path)
    check_arguments(path, target, arguments, waits=waits)
    return partial(target, **arguments) if waits else target(**arguments)


def check_arguments(path: str, target: Any, arguments: Mapping[str, Any], *, waits: bool = False) -> None:
    """Check the names of arguments, and the types of those that JSON can hold, before a call.

    Args:
        path: Name of the target in messages.
        target: Class or function.
        arguments: Its arguments, parts built.
        waits: Whether the call lacks arguments.

    Raises:
        ValueError: For the first argument that the target does not take or that is of another type.
    """
    # `__new__` may take fewer arguments than `__init__`.
    own = inspect.isclass(target) and inspect.isfunction(target.__init__)
    try:
        signature = inspect.signature(partial(target.__init__, None) if own else target)
    except (TypeError, ValueError):  # some functions that are written in C have none
        return
    try:
        (signature.bind_partial if waits else signature.bind)(**arguments)
    except TypeError as error:
        raise ValueError(f"{path}: {error}.") from error
    kinds = _annotations(target)
    for name, value in arguments.items():
        parameter = signature.parameters.get(name)
        if parameter is None or name not in kinds or (value is None and parameter.default is None):
            continue
        if not _fits(value, kinds[name]):
            raise ValueError(f"{path}: expected another value of {name!r}, got {value!r:.80}.")


def _annotations(target: Any) -> dict[str, Any]:
    try:
        return get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (AttributeError, NameError, TypeError):  # names that stand under TYPE_CHECKING
        return {}


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a value is one of a type; an object that JSON cannot hold fits every class."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any or isinstance(kind, TypeVar):
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if kind in (None, NoneType):
        return value is None
    if kind is float:
        return type(value) in (int, float)
    if kind in (bool, int, str):
        return type(value) is kind
    if kind is Path:
        return isinstance(value, str | Path)
    container = origin or kind
    if inspect.isclass(container) and issubclass(container, Mapping):
        return isinstance(value, Mapping)
    if inspect.isclass(container) and issubclass(container, Collection):
        # A text is a sequence of texts to Python, and no list to JSON.
        return isinstance(value, list | tuple) and (not inner or all(_fits(one, inner[0]) for one in value))
    return not isinstance(value, bool | int | float | str | list | dict | None)


def import_target(path: str) -> Any:
    """Return the object of a dotted path, importing its modules.

    Raises:
        ImportError: If there is none.
        ModuleNotFoundError: If its module lacks a library.
    """
    parts = path.split(".")
    found = import_module(parts[0])
    for end, part in enumerate(parts[1:], start=2):
        # Attributes first: a function hides the module of its name, as it does for `from package import name`.
        if not hasattr(found, part):
            try:
                import_module(".".join(parts[:end]))
            except ModuleNotFoundError as error:
                if error.name != ".".join(parts[:end]) and "is not a package" not in str(error):
                    raise
                raise ImportError(f"Expected {path} to name a class or function, and there is no {part}.") from error
        found = getattr(found, part)
    return found
