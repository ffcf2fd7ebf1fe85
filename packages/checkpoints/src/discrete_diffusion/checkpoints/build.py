"""Objects built from dictionaries with a `_target_`."""

import inspect
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any

RESERVED = ("_target_", "_partial_")


def build(node: Any) -> Any:
    """Build what is described, parts first: the spelling of Hydra's targets, as JSON and without Hydra.

    A dictionary with a `_target_`, the dotted path of a class or function, becomes what that returns of the other
    entries by name, or with `_partial_: true` a function that waits for the rest. Everything else stays as it is.
    Whoever calls this trusts every target: see `storage.read_config`.

    Raises:
        ValueError: if a target has no such arguments.
        ImportError: if there is no such target, or it lacks a library.
    """
    if isinstance(node, list | tuple):
        return [build(child) for child in node]
    if not isinstance(node, Mapping):
        return node
    arguments = {name: build(child) for name, child in node.items() if name not in RESERVED}
    if "_target_" not in node:
        return arguments
    path, waits = node["_target_"], node.get("_partial_", False)
    target = find(path)
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):  # of some that are written in C
        signature = None
    if signature is not None:
        try:
            (signature.bind_partial if waits else signature.bind)(**arguments)
        except TypeError as error:
            raise ValueError(f"{path}: {error}.") from error
    return partial(target, **arguments) if waits else target(**arguments)


def find(path: str) -> Any:
    """The object of a dotted path, its modules imported.

    Raises:
        ImportError: if there is none.
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
