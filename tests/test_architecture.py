"""Members of the workspace, each a distribution that could be released as it stands."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
MEMBERS = sorted(path.parent for home in ("packages", "apps") for path in ROOT.glob(f"{home}/*/pyproject.toml"))
PREFIX = "discrete-diffusion-"


def settings(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def requirements(project: dict[str, Any]) -> list[Requirement]:
    extras = project.get("optional-dependencies", {}).values()
    return [Requirement(line) for lines in (project["dependencies"], *extras) for line in lines]


VERSIONS = {settings(member)["project"]["name"]: settings(member)["project"]["version"] for member in MEMBERS}

each_member = pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)


def test_the_tools_know_every_member():
    names = {member.name for member in MEMBERS}
    assert len(names) == len(MEMBERS) == 11
    tools = settings(ROOT)["tool"]
    assert set(tools["uv"]["sources"]) == {PREFIX + name for name in names}
    assert set(tools["importlinter"]["root_packages"]) == {f"discrete_diffusion.{name}" for name in names}
    assert set(tools["mypy"]["mypy_path"]) == {str(member.relative_to(ROOT) / "src") for member in MEMBERS}


def test_the_license_is_the_apache_license():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


@each_member
def test_a_member_says_what_it_is(member: Path):
    project = settings(member)["project"]
    assert project["name"] == PREFIX + member.name
    assert project["license"] == "Apache-2.0"
    assert project["readme"] == "README.md"
    assert project["requires-python"].startswith(">=")
    assert Version(project["requires-python"].removeprefix(">=")) >= Version("3.11")
    assert project["description"].endswith(".")


@each_member
def test_a_member_has_a_readme_a_changelog_types_and_tests(member: Path):
    source = member / "src" / "discrete_diffusion"
    assert (member / "README.md").read_text().startswith(f"# {PREFIX}{member.name}\n")
    assert (source / member.name / "py.typed").is_file()
    assert (source / member.name / "__init__.py").is_file()
    assert list((member / "tests").rglob("test_*.py"))


@each_member
def test_a_member_adds_one_portion_to_the_namespace(member: Path):
    source = member / "src" / "discrete_diffusion"
    assert [path.name for path in source.iterdir() if path.name != "__pycache__"] == [member.name]
    assert settings(member)["tool"]["uv"]["build-backend"]["module-name"] == f"discrete_diffusion.{member.name}"


@each_member
def test_the_newest_heading_of_the_changelog_is_the_version(member: Path):
    changelog = (member / "CHANGELOG.md").read_text().replace("\n## Unreleased\n", "\n", 1)
    headings = re.findall(r"^## (\S+)", changelog, re.MULTILINE)
    assert headings[0] == VERSIONS[PREFIX + member.name]
    assert sorted(headings, key=Version, reverse=True) == headings


@each_member
def test_requirements_on_other_members_are_bounded_ranges_that_hold_today(member: Path):
    ours = [
        requirement for requirement in requirements(settings(member)["project"]) if requirement.name.startswith(PREFIX)
    ]
    for requirement in ours:
        assert sorted(bound.operator for bound in requirement.specifier) == ["<", ">="], str(requirement)
        assert requirement.specifier.contains(VERSIONS[requirement.name]), (
            f"{requirement} leaves out {VERSIONS[requirement.name]}"
        )
