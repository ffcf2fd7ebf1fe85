#!/usr/bin/env python3
"""Check that this environment holds one member, the members it asks for, and nothing else of ours.

Run by the environment's own Python, standard library only. All of them must lie in the environment, not in a checkout.
With ``--example`` it then runs the Python blocks of the README that the member was installed with.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib.metadata import distributions, metadata, requires
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules

PREFIX = "discrete-diffusion-"


def requirements_of(member: str) -> set[str]:
    """Return a member and all members that it requires, directly or not."""
    names = (re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in requires(PREFIX + member) or [])
    others = [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]
    return {member}.union(*map(requirements_of, others))


def main() -> None:
    """Compare the requirements with the installed and the importable packages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("member", help="guidance, for discrete-diffusion-guidance")
    parser.add_argument("--example", action="store_true", help="run the README's Python blocks")
    arguments = parser.parse_args()
    expected = requirements_of(arguments.member)

    names = {distribution.name for distribution in distributions()}
    installed = {name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)}
    if installed != expected:
        raise SystemExit(f"Expected {sorted(expected)} to be installed, got {sorted(installed)}.")

    import discrete_diffusion

    importable = {module.name for module in iter_modules(discrete_diffusion.__path__)}
    if importable != expected:
        raise SystemExit(f"Expected {sorted(expected)} to be importable, got {sorted(importable)}.")
    for name in sorted(expected):
        spec = find_spec(f"discrete_diffusion.{name}")
        if spec is None or spec.origin is None or Path(sys.prefix) not in Path(spec.origin).parents:
            raise SystemExit(f"Expected discrete_diffusion.{name} to lie in {sys.prefix}, got {spec and spec.origin}.")
    print(f"{arguments.member}: of ours {sorted(expected)}, {len(names)} distributions in all")

    if arguments.example:
        readme = str(metadata(PREFIX + arguments.member).get_payload())
        blocks = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
        if not blocks:
            raise SystemExit(f"Expected a ```python block in the README of {PREFIX}{arguments.member}.")
        exec(compile("\n".join(blocks), "README.md", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main()
