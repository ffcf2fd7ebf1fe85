#!/usr/bin/env python3
"""Install one member's wheel into an empty environment and run its tests there.

The environment holds the wheel, those of the members that it asks for, and what they ask for at the versions pinned in
the root pyproject.toml. First the README's example runs as somebody who has only the wheel would run it; then what the
tests need is added, and the member's tests run against what is installed, never against the source.

    scripts/alone.py guidance                   build every member's wheel first
    scripts/alone.py guidance --wheels dist     take the wheels of a folder
    scripts/alone.py guidance --lowest          install the lowest versions that the member allows, instead of the pins

Standard library only; runs `uv`.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parents[1]
PREFIX = "discrete-diffusion-"
# Of these the tests need the extras too; flash-attn and mamba, extras of backbones, would have to be compiled.
WITH_EXTRAS = {"datasets", "eval"}
# The evaluator's tests train the models that they measure.
TESTED_WITH = {"evaluator": "trainer"}


def headers(wheel: Path) -> Message:
    """Return the metadata of a wheel: Name, Requires-Dist, Provides-Extra."""
    with ZipFile(wheel) as archive:
        (path,) = (path for path in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", path))
        return HeaderParser().parsestr(archive.read(path).decode())


def wheels_in(folder: Path) -> dict[str, Path]:
    """Return the wheel of each member, by the member's name."""
    found: dict[str, Path] = {}
    for wheel in sorted(folder.resolve().glob("*.whl")):
        member = headers(wheel)["Name"].removeprefix(PREFIX)
        if member in found:
            raise SystemExit(f"Expected one wheel of {member} in {folder}, got {found[member].name} and {wheel.name}.")
        found[member] = wheel
    return found


def requirements_of(member: str, wheels: dict[str, Path]) -> set[str]:
    """Return a member and all members that it requires, directly or not."""
    if member not in wheels:
        raise SystemExit(f"Expected a wheel of {PREFIX}{member}: run `uv run just build`.")
    names = (re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in headers(wheels[member]).get_all("Requires-Dist", []))
    others = [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]
    return {member}.union(*(requirements_of(other, wheels) for other in others))


def requirements(member: str, wheels: dict[str, Path]) -> list[str]:
    """Return what to install: files, so that no other distribution of the same name can stand in for one of them."""
    extras = headers(wheels[member]).get_all("Provides-Extra", []) if member in WITH_EXTRAS else []
    others = sorted(requirements_of(member, wheels) - {member})
    return [f"{wheels[member]}[{','.join(extras)}]" if extras else str(wheels[member])] + [
        str(wheels[o]) for o in others
    ]


def run(*command: object, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    """Run a command; where it fails, end with its status."""
    status = subprocess.run([str(part) for part in command], cwd=cwd, env=env, check=False).returncode
    if status:
        raise SystemExit(status)


def main() -> None:
    """Build, install, check, test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("member", help="guidance, for discrete-diffusion-guidance")
    parser.add_argument("--wheels", type=Path, metavar="FOLDER", help="a folder with every member's wheel")
    parser.add_argument("--lowest", action="store_true", help="install the lowest versions that the member allows")
    parser.add_argument("--only", metavar="NAMES", help="run the tests with these names alone, as in `pytest -k NAMES`")
    arguments = parser.parse_args()
    member = arguments.member
    homes = [path.parent for path in ROOT.glob(f"*/{member}/pyproject.toml")]
    if not homes:
        raise SystemExit(f"Expected a member such as guidance, got {member!r}.")

    # On the file system of uv's cache, what is installed is linked and not copied; torch alone is gigabytes.
    cache = Path(subprocess.run(["uv", "cache", "dir"], stdout=subprocess.PIPE, check=True, text=True).stdout.strip())
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=cache, prefix="alone-") as scratch:
        folder, place, empty = arguments.wheels, Path(scratch, "environment"), Path(scratch, "empty")
        if folder is None:
            folder = Path(scratch, "dist")
            run("uv", "build", "--quiet", "--all-packages", "--no-sources", "--wheel", "--out-dir", folder)
        wheels = wheels_in(folder)
        python = place / "bin" / "python"
        empty.mkdir()
        # In the root uv reads the pins; `--no-sources`, or it would also read where the sources are.
        install = ["uv", "pip", "install", "--quiet", "--no-sources", "--python", python]
        install += ["--resolution", "lowest-direct"] * arguments.lowest
        home = Path(gettempdir()) if arguments.lowest else ROOT
        run("uv", "venv", "--quiet", "--python", sys.executable, place)
        run(*install, *requirements(member, wheels), cwd=home)

        example = ["--example"] if homes[0].parent.name == "packages" else []  # an app's example needs a finished run
        run(python, "-I", ROOT / "scripts" / "installed.py", member, *example, cwd=empty)

        for_tests = requirements(TESTED_WITH[member], wheels) if member in TESTED_WITH else []
        needed = dict.fromkeys([*requirements(member, wheels), *for_tests])
        run(*install, *needed, "--group", f"{ROOT / 'pyproject.toml'}:test", cwd=home)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"VIRTUAL_ENV": str(place), "PATH": f"{place / 'bin'}{os.pathsep}{environment['PATH']}"}
        chosen = ["-k", arguments.only] if arguments.only else []
        run(place / "bin" / "pytest", homes[0], *chosen, env=environment)


if __name__ == "__main__":
    main()
