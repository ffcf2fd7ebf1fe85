"""Objects built from dictionaries with a `_target_`."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

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
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):  # some functions that are written in C have none
        signature = None
    if signature is not None:
        try:
            (signature.bind_partial if waits else signature.bind)(**arguments)
        except TypeError as error:
            raise ValueError(f"{path}: {error}.") from error
    return partial(target, **arguments) if waits else target(**arguments)


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
