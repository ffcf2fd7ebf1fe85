"""The Python of the root README and of docs/ runs as it is printed; each package runs its own README's."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[object]:
    """Each page's blocks joined, since a page is read from top to bottom."""
    pages = {page: "\n".join(BLOCK.findall(page.read_text())) for page in PAGES if page.is_file()}
    return [pytest.param(code, id=str(page.relative_to(ROOT))) for page, code in pages.items() if code]


@pytest.mark.parametrize("code", blocks())
def test_the_code_of_a_page_runs(code: str, tmp_path: Path):
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("command", ["uv run trainer", "uv run evaluator", "uv run pytest"])
def test_the_readme_tells_the_commands(command: str):
    assert re.search(rf"^\s*{command}\b", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_what_ci_runs_last_is_what_the_readme_tells():
    assert "\nuv run pytest\n" in (ROOT / ".ci" / "run").read_text()


def test_links_between_pages_lead_somewhere():
    pages = [*PAGES, ROOT / "CONTRIBUTING.md", *ROOT.glob("*/*/README.md")]
    for page in filter(Path.is_file, pages):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"
