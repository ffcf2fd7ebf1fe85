#!/usr/bin/env python3
"""Write the exact version of every dependency into the root pyproject.toml.

The list is ``[tool.uv] constraint-dependencies``; everything else in the file stays as it is, byte for byte. Standard
library only, so that it runs before anything is installed.

    scripts/pin.py                   take up what the members now ask for; what is pinned stays
    scripts/pin.py NAME [NAME ...]   let these move to their newest versions first ("nvidia-*" works too)
    scripts/pin.py --check           exit 1 unless the list is exactly what uv.lock holds
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = re.compile(rb"^constraint-dependencies = \[\n.*?^\]\n", re.MULTILINE | re.DOTALL)


def name(requirement: str) -> str:
    """Return the distribution of a requirement such as ``numpy==2.4.6 ; python_version < '3.12'``."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def pinned(pyproject: bytes) -> list[str]:
    """Return the requirements of the list."""
    requirements: list[str] = tomllib.loads(pyproject.decode())["tool"]["uv"]["constraint-dependencies"]
    return requirements


def with_pins(pyproject: bytes, pins: list[str]) -> bytes:
    """Return the file with another list."""
    lines = "".join(f'    "{pin}",\n' for pin in pins)
    new, count = LIST.subn(lambda _: f"constraint-dependencies = [\n{lines}]\n".encode(), pyproject)
    if count != 1:
        raise SystemExit(f"Expected one `constraint-dependencies = [` in pyproject.toml, got {count}.")
    return new


def locked() -> list[str]:
    """Return the requirements in uv.lock for every member, extra, group and platform, after bringing it up to date.

    A marker stays only where a dependency is locked at more than one version: any other forks the resolution in vain.
    """
    command = ["uv", "export", "--quiet", "--all-packages", "--all-extras", "--all-groups", "--no-emit-workspace"]
    command += ["--no-hashes", "--no-annotate", "--no-header"]
    export = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    lines = [line.strip() for line in export.stdout.splitlines() if line.strip()]
    versions = Counter(map(name, lines))
    return sorted(line if versions[name(line)] > 1 else line.partition(" ;")[0] for line in lines)


def main() -> int:
    """Pin, or check the pins."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", help="a dependency to move to its newest version")
    parser.add_argument("--check", action="store_true", help="change nothing and exit 1 if something would change")
    arguments = parser.parse_args()
    path = ROOT / "pyproject.toml"
    before = path.read_bytes()
    pins = pinned(before)

    if arguments.check:
        lock = locked()
        for pin in sorted(set(lock) - set(pins)):
            print(f"not pinned: {pin}", file=sys.stderr)
        for pin in sorted(set(pins) - set(lock)):
            print(f"pinned, but not what uv.lock holds: {pin}", file=sys.stderr)
        if pins != lock:
            print("The pins in pyproject.toml are out of date: run `uv run just pin`.", file=sys.stderr)
        return int(pins != lock)

    freed = {name(pin) for pin in pins if any(fnmatch(name(pin), pattern) for pattern in arguments.name)}
    try:
        if freed:
            path.write_bytes(with_pins(before, [pin for pin in pins if name(pin) not in freed]))
            upgrades = [f"--upgrade-package={dependency}" for dependency in sorted(freed)]
            subprocess.run(["uv", "lock", "--quiet", *upgrades], cwd=ROOT, check=True)
        path.write_bytes(with_pins(before, locked()))
        if locked() != pinned(path.read_bytes()):
            raise SystemExit("The pins do not reproduce themselves.")
    except BaseException:
        path.write_bytes(before)
        raise
    after = pinned(path.read_bytes())
    for pin in sorted(set(pins) ^ set(after)):
        print("+" if pin in after else "-", pin)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
