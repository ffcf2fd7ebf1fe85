#!/usr/bin/env python3
"""Raise one member's version, with all that has to follow it.

The heading ``## Unreleased`` of its changelog becomes the version; members that ask for a range that leaves it out ask
for a new one, and a line in their changelogs says so; its api.txt is taken anew. Nothing changes unless all of it can.

    scripts/bump.py guidance minor      before 1.0 a minor version may break, a patch may not

Runs `uv`, and scripts/api.py with the same Python.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PREFIX = "discrete-diffusion-"
UNRELEASED = re.compile(r"^## Unreleased\n\n", re.MULTILINE)


def released(changelog: str, version: str, name: str) -> str:
    """Return the changelog with its unreleased changes under the version's heading."""
    new, count = UNRELEASED.subn(f"## {version}\n\n", changelog)
    if count != 1:
        raise SystemExit(f"Expected one heading `## Unreleased` in {name}, with what changes for users, got {count}.")
    return new


def noted(changelog: str, line: str) -> str:
    """Return the changelog with one more unreleased change."""
    if not UNRELEASED.search(changelog):
        changelog = re.sub(r"^(?=## )", "## Unreleased\n\n\n", changelog, count=1, flags=re.MULTILINE)
    return UNRELEASED.sub(rf"\g<0>- {line}\n", changelog, count=1)


def span(version: str) -> str:
    """Return the range of compatible versions: 0.2.3 gives >=0.2,<0.3 and 2.0.0 gives >=2.0,<3."""
    major, minor = Version(version).major, Version(version).minor
    return f">={major}.{minor},<{major}.{minor + 1}" if major == 0 else f">={major}.{minor},<{major + 1}"


def with_range(pyproject: str, member: str, version: str) -> str:
    """Return a member's pyproject.toml with a range of another member that includes its new version."""
    ranges = re.compile(rf'("{PREFIX}{member}(?:\[[^]"]*\])?)([<>=][^";]*)')

    def moved(match: re.Match[str]) -> str:
        return match[0] if SpecifierSet(match[2]).contains(version) else match[1] + span(version)

    return ranges.sub(moved, pyproject)


def planned(root: Path, member: str, version: str) -> tuple[dict[Path, str], list[str]]:
    """Return the files to write, except the member's pyproject.toml, and the members whose ranges move."""
    texts: dict[Path, str] = {}
    moved = []
    for path in [*sorted(root.glob("packages/*/pyproject.toml")), *sorted(root.glob("apps/*/pyproject.toml"))]:
        changelog = path.with_name("CHANGELOG.md")
        if path.parent.name == member:
            text = changelog.read_text(encoding="utf-8")
            texts[changelog] = released(text, version, str(changelog.relative_to(root)))
            continue
        before = path.read_text(encoding="utf-8")
        after = with_range(before, member, version)
        if after != before:
            moved.append(path.parent.name)
            texts[path] = after
            line = f"Asks for {PREFIX}{member}{span(version)}."
            texts[changelog] = noted(changelog.read_text(encoding="utf-8"), line)
    return texts, moved


def bump(root: Path, member: str, level: str) -> tuple[str, list[str]]:
    """Raise the version; returns it, and the members whose ranges moved."""
    homes = [path.parent for path in root.glob(f"*/{member}/pyproject.toml")]
    if not homes:
        raise SystemExit(f"Expected a member such as guidance, got {member!r}.")
    command = ["uv", "version", "--frozen", "--short", "--package", PREFIX + member, "--bump", level]
    dry = subprocess.run([*command, "--dry-run"], cwd=root, stdout=subprocess.PIPE, check=True, text=True)
    version = dry.stdout.split()[-1]
    texts, moved = planned(root, member, version)
    touched = [*texts, homes[0] / "pyproject.toml"]
    before = {path: path.read_bytes() for path in touched}
    try:
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
        subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True)
        if (homes[0] / "api.txt").is_file():
            subprocess.run([sys.executable, root / "scripts" / "api.py", member], cwd=root, check=True)
    except BaseException:
        for path, content in before.items():
            path.write_bytes(content)
        raise
    return version, moved


def main() -> None:
    """Bump, and say what is left to do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("member", help="guidance, for discrete-diffusion-guidance")
    parser.add_argument("level", choices=["major", "minor", "patch"])
    arguments = parser.parse_args()
    member = arguments.member
    try:
        version, moved = bump(ROOT, member, arguments.level)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"Nothing changed: {Path(error.cmd[0]).name} failed.") from None
    file = f"dist/{PREFIX.replace('-', '_')}{member}-{version}"
    print(f"{PREFIX}{member} is {version}.")
    for other in moved:
        print(f"{other} asks for {span(version)} now; releasing it too: uv run just bump {other} patch")
    print("What is left to do:")
    print(f"  uv run just ci, and commit\n  git tag {member}-{version}")
    print(f"  uv build --package {PREFIX}{member} --no-sources\n  uv publish {file}*")


if __name__ == "__main__":
    main()
