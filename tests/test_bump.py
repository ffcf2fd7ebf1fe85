"""New versions of a member, and the files that follow."""

import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
bump = runpy.run_path(str(ROOT / "scripts" / "bump.py"))

WORKSPACE = """[project]
name = "discrete-diffusion"
version = "0"
requires-python = ">=3.11"

[tool.uv]
package = false

[tool.uv.workspace]
members = ["packages/*", "apps/*"]
"""
MEMBER = """[project]
name = "discrete-diffusion-{name}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = [{requirement}]
"""
CHANGELOG = "# Changelog\n\n## Unreleased\n\n- `Linear` is gone.\n\n## 0.1.0\n\n- First release.\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three members: processes asks for schedules, the trainer for both."""
    if shutil.which("uv") is None:
        pytest.skip("uv is not on the path")
    (tmp_path / "pyproject.toml").write_text(WORKSPACE)
    for home, name, requirement in (
        ("packages", "schedules", ""),
        ("packages", "processes", '\n    "discrete-diffusion-schedules>=0.1,<0.2",\n    "torch>=2.6",\n'),
        ("apps", "trainer", '"discrete-diffusion-processes>=0.1,<0.2", "discrete-diffusion-schedules[all]>=0.1,<0.2"'),
    ):
        folder = tmp_path / home / name
        folder.mkdir(parents=True)
        (folder / "pyproject.toml").write_text(MEMBER.format(name=name, requirement=requirement))
        (folder / "CHANGELOG.md").write_text(
            CHANGELOG if name == "schedules" else "# Changelog\n\n## 0.1.0\n\n- First.\n"
        )
    return tmp_path


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_minor_version_moves_the_ranges_that_leave_it_out(root: Path):
    before = contents(root)
    assert bump["bump"](root, "schedules", "minor") == ("0.2.0", ["processes", "trainer"])
    note = "- Asks for discrete-diffusion-schedules>=0.2,<0.3.\n"
    newer = {
        "packages/schedules/pyproject.toml": ("0.1.0", "0.2.0"),
        "packages/schedules/CHANGELOG.md": ("## Unreleased", "## 0.2.0"),
        "packages/processes/pyproject.toml": ("schedules>=0.1,<0.2", "schedules>=0.2,<0.3"),
        "packages/processes/CHANGELOG.md": ("## 0.1.0", f"## Unreleased\n\n{note}\n## 0.1.0"),
        "apps/trainer/pyproject.toml": ("schedules[all]>=0.1,<0.2", "schedules[all]>=0.2,<0.3"),
        "apps/trainer/CHANGELOG.md": ("## 0.1.0", f"## Unreleased\n\n{note}\n## 0.1.0"),
    }
    assert contents(root) == before | {name: before[name].replace(*change) for name, change in newer.items()}


def test_a_patch_moves_no_range(root: Path):
    before = contents(root)
    assert bump["bump"](root, "schedules", "patch") == ("0.1.1", [])
    after = contents(root)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"packages/schedules/pyproject.toml", "packages/schedules/CHANGELOG.md"}
    assert set(after) == set(before)


def test_a_member_with_nothing_to_tell_is_not_released(root: Path):
    before = contents(root)
    with pytest.raises(SystemExit, match=r"`## Unreleased`.* in packages/processes/CHANGELOG.md, .*, got 0"):
        bump["bump"](root, "processes", "minor")
    with pytest.raises(SystemExit, match="Expected a member such as guidance, got 'nothing'"):
        bump["bump"](root, "nothing", "minor")
    assert contents(root) == before


def test_where_the_snapshot_is_refused_nothing_changes(root: Path):
    (root / "scripts").mkdir()
    (root / "scripts" / "api.py").write_text("import sys\nsys.exit(sys.argv[1:] == ['schedules'])\n")
    (root / "packages" / "schedules" / "api.txt").write_text("0.1.0\n")
    before = contents(root)
    with pytest.raises(subprocess.CalledProcessError):
        bump["bump"](root, "schedules", "patch")
    assert contents(root) == before


@pytest.mark.parametrize(
    ("version", "span"),
    [("0.2.0", ">=0.2,<0.3"), ("0.2.7", ">=0.2,<0.3"), ("1.0.0", ">=1.0,<2"), ("2.3.0", ">=2.3,<3")],
)
def test_a_range_ends_where_versions_may_break(version: str, span: str):
    assert bump["span"](version) == span


def test_a_range_that_holds_stays_as_it_is_written():
    text = '"discrete-diffusion-eval[plots]>=1.0,<2; os_name == \'nt\'", "discrete-diffusion-evaluator>=0.1,<0.2"'
    assert bump["with_range"](text, "eval", "1.4.0") == text
    assert bump["with_range"](text, "eval", "2.0.0") == text.replace(">=1.0,<2;", ">=2.0,<3;")


def test_a_note_joins_the_unreleased_changes():
    assert bump["noted"](CHANGELOG, "More.") == CHANGELOG.replace("- `Linear`", "- More.\n- `Linear`")
