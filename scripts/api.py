#!/usr/bin/env python3
"""Write each package's public names and parameters into its api.txt, and refuse to lose one without a version for it.

The first line is the version it was taken at. Then, for each name of ``__all__``, one line with its parameters, ``=``
where they have a default; of classes also the methods and properties. A package that changes so that its users' calls
no longer work must have a higher version than its api.txt: a minor one before 1.0, a major one after.

    scripts/api.py [PACKAGE ...]      write them
    scripts/api.py --check            change nothing and exit 1 unless they hold

Run by the Python of an environment that holds the packages.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
OURS = "discrete_diffusion."


def written(function: Callable[..., Any], skip: int = 0) -> str:
    """Return the parameters of a function, in parentheses, without its first `skip`."""
    parameters = list(inspect.signature(function).parameters.values())[skip:]
    bare = [p.replace(annotation=p.empty, default=p.default if p.default is p.empty else ...) for p in parameters]
    return str(inspect.Signature(bare)).replace("=Ellipsis", "=")


def constructor(cls: type) -> str:
    """Return the parameters of a class with a constructor of its own, or nothing (protocols, typed dictionaries)."""
    if hasattr(cls, "_fields"):
        return written(cls)
    return written(cls) if getattr(inspect.getattr_static(cls, "__init__"), "__module__", "").startswith(OURS) else ""


def members(cls: type) -> Iterator[str]:
    """Return the methods and properties that are defined in our code; of the special ones, `__call__` alone."""
    found: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith(OURS):
            found |= vars(base)
    for name, value in sorted(found.items()):
        if name.startswith("_") and name != "__call__":
            continue
        if isinstance(value, property | cached_property):
            yield name
        elif isinstance(value, classmethod | staticmethod):
            yield name + written(getattr(cls, name))
        elif inspect.isfunction(value):
            yield name + written(value, skip=1)


def lines_of(name: str, value: object) -> list[str]:
    """Return the lines of api.txt for one public name."""
    if inspect.isclass(value):
        return [name + constructor(value), *(f"{name}.{member}" for member in members(value))]
    function = inspect.unwrap(value)  # type: ignore[arg-type]
    return [name + written(function) if inspect.isfunction(function) else name]


def taken(package: str, known: Sequence[str] = ()) -> list[str]:
    """Return the lines of a package; those of an extra that is missing here stay as in `known`."""
    module, lines = import_module(OURS + package), []
    for name in sorted(module.__all__):
        try:
            lines += lines_of(name, getattr(module, name))
        except ModuleNotFoundError:
            before = [line for line in known if line.partition("(")[0].partition(".")[0] == name]
            if not before:
                raise
            lines += before
    return lines


def losses(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return the changes that break calls that were right by the `old` lines, in words."""
    found = []
    after = {name: rest for name, _, rest in (line.partition("(") for line in new)}
    for name, parenthesis, rest in (line.partition("(") for line in old):
        owner, dot, _ = name.partition(".")
        if name not in after:
            found += [f"`{name}` is gone"] if not dot or owner in after else []  # a class takes its methods along
        elif parenthesis and not after[name]:
            found.append(f"`{name}` is not called any more")
        elif parenthesis:
            found += [f"`{name}` {loss}" for loss in lost_parameters(arguments_of(rest), arguments_of(after[name]))]
    return found


def arguments_of(rest: str) -> ast.arguments:
    """Return the parameters of a line, from behind its opening parenthesis."""
    definition = ast.parse(f"def function({rest.replace('=', '=0')}: ...").body[0]
    assert isinstance(definition, ast.FunctionDef)
    return definition.args


def lost_parameters(old: ast.arguments, new: ast.arguments) -> Iterator[str]:
    """Return the parameters that are gone, moved, or required now."""
    before, after = ([p.arg for p in (*a.posonlyargs, *a.args)] for a in (old, new))
    places = len(old.posonlyargs)
    before[:places] = (after + before[len(after) :])[:places]  # their names never mattered
    keywords = {p.arg for p in new.kwonlyargs}
    for place, name in enumerate(before):
        if name not in after and name not in keywords:
            yield f"has no `{name}`"
        elif after[place : place + 1] != [name]:
            yield f"has `{name}` in another place"
        elif places <= place < len(new.posonlyargs):
            yield f"has `{name}` by place alone"
    named = {*after[len(new.posonlyargs) :], *keywords}
    yield from (f"has no `{p.arg}`" for p in old.kwonlyargs if p.arg not in named)
    if (old.vararg and not new.vararg) or (old.kwarg and not new.kwarg):
        yield "takes fewer arguments"
    given = set(before[: len(before) - len(old.defaults)]) | required_keywords(old)
    needed = [*after[: len(after) - len(new.defaults)], *sorted(required_keywords(new))]
    yield from (f"needs `{name}`" for name in needed if name not in given)


def required_keywords(arguments: ast.arguments) -> set[str]:
    """Return the keyword-only parameters without a default."""
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return {parameter.arg for parameter, default in pairs if default is None}


def may_break(old: str, new: str) -> bool:
    """Return whether semantic versioning lets users' calls break between two versions."""
    before, after = Version(old), Version(new)
    return after.release[: 2 if before.major == 0 else 1] > before.release[: 2 if before.major == 0 else 1]


def refusal(package: str, old: tuple[str, list[str]], new: tuple[str, list[str]]) -> str | None:
    """One line that says why `new` (version, lines) may not follow `old`, if it may not."""
    found = losses(old[1], new[1])
    if not found or may_break(old[0], new[0]):
        return None
    level = "minor" if Version(old[0]).major == 0 else "major"
    return (
        f"{package}: {', '.join(found)}. Its users' calls would break: that needs a {level} version above {old[0]},"
        f" got {new[0]}: run `uv run just bump {package} {level}`."
    )


def read(path: Path) -> tuple[str, list[str]] | None:
    """Return the version and the lines of an api.txt, or None if there is none."""
    if not path.is_file():
        return None
    version, *lines = path.read_text(encoding="utf-8").splitlines()
    return version, lines


def problem(package: str, *, write: bool) -> str | None:
    """Return one line on what is wrong with a package's api.txt; `write` writes it first, if that breaks nothing."""
    folder = ROOT / "packages" / package
    old = read(folder / "api.txt")
    version = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    new = version, taken(package, old[1] if old else ())
    if old == new:
        return None
    refused = refusal(package, old, new) if old else None
    if refused is None and write:
        (folder / "api.txt").write_text("\n".join([version, *new[1]]) + "\n", encoding="utf-8")
        return None
    return refused or f"{package}: api.txt is not what the package offers: run `uv run just api`."


def main() -> int:
    """Write the snapshots, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", nargs="*", help="guidance, for discrete_diffusion.guidance; all if none is named")
    parser.add_argument("--check", action="store_true", help="change nothing and exit 1 if something would change")
    arguments = parser.parse_args()
    every = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))
    unknown = sorted(set(arguments.package) - set(every))
    if unknown:
        raise SystemExit(f"Expected a package of {', '.join(every)}, got {', '.join(unknown)}.")
    problems = [problem(package, write=not arguments.check) for package in arguments.package or every]
    for line in filter(None, problems):
        print(line, file=sys.stderr)
    return int(any(problems))


if __name__ == "__main__":
    raise SystemExit(main())
