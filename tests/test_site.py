"""Documentation: complete pages, valid equations and links, and no content from other hosts."""

import dataclasses
import importlib
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from discrete_diffusion import guidance

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
METHODS = [page for page in PAGES if page.startswith("guidance/") and page != "guidance/index.md"]
SAMPLERS = [
    page for page in PAGES if page.startswith("samplers/") and Path(page).stem not in ("index", "times", "comparison")
]
MEMBERS = sorted(path.parent for home in ("packages", "apps") for path in ROOT.glob(f"{home}/*/README.md"))
PACKAGES = [member.name for member in MEMBERS if member.parent.name == "packages"]
SAMPLER_OPTIONS = ROOT / "apps" / "evaluator" / "src" / "discrete_diffusion" / "evaluator" / "config" / "sampler"
MODULES = {"constraints"}  # public as they are
LOADED = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>|@import[^;]*//[^;]*"
)

settings: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def in_nav(node: Any) -> list[str]:
    if isinstance(node, str):
        return [node]
    return [page for child in (node.values() if isinstance(node, dict) else node) for page in in_nav(child)]


def test_every_page_is_in_the_navigation_once():
    assert sorted(in_nav(settings["nav"])) == PAGES


def test_the_settings_name_no_other_host():
    for path in [ROOT / "mkdocs.yml", *(DOCS / "site").iterdir()]:
        if path.is_file():
            assert "://" not in path.read_text(), path.name


def test_what_is_loaded_from_another_host_is_found():
    for text in ('<script src="https://cdn.example/x.js">', "<link rel=x href=//fonts.example/f.css>"):
        assert LOADED.search(text)
    assert not LOADED.search('<a href="https://arxiv.org/abs/2412.10193">and</a> <script src="assets/x.js"></script>')


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_every_member_has_a_reference_page_that_starts_with_its_readme(member: Path):
    page = (DOCS / "reference" / f"{member.name}.md").read_text()
    assert page.startswith(f"<!-- include {member.parent.name}/{member.name}/README.md -->\n")


@pytest.mark.parametrize("package", PACKAGES)
def test_the_reference_has_every_public_name_once(package: str):
    page = (DOCS / "reference" / f"{package}.md").read_text()
    documented = re.findall(rf"^::: discrete_diffusion\.{package}\.(?:\w+\.)*(\w+)$", page, re.MULTILINE)
    public = importlib.import_module(f"discrete_diffusion.{package}").__all__
    assert sorted(name for name in documented if name not in MODULES) == sorted(public)


@pytest.mark.parametrize("page", [*METHODS, *SAMPLERS])
def test_the_page_of_a_method_or_sampler_has_equation_cost_and_figure(page: str):
    text, picture = (DOCS / page).read_text(), f"images/{page.removesuffix('.md')}.png"
    assert "\n```math\n" in text
    assert re.search(r"^(#+ |\*\*)Cost", text, re.MULTILINE)
    assert f"](../{picture})" in text
    assert (DOCS / picture).stat().st_size < 100_000


def test_every_sampler_of_the_evaluator_is_on_a_page():
    pages = "\n".join((DOCS / page).read_text() for page in SAMPLERS)
    options = sorted(path.stem for path in SAMPLER_OPTIONS.glob("*.yaml"))
    assert "ancestral" in options
    assert [name for name in options if name not in ("own", "custom") and not re.search(rf"\b{name}\b", pages)] == []


def test_every_method_of_guidance_has_a_page():
    documented = set(re.findall(r"\w+", "\n".join((DOCS / page).read_text() for page in METHODS)))
    public = [getattr(guidance, name) for name in guidance.__all__]
    methods = [kind for kind in public if dataclasses.is_dataclass(kind) and has_base_or_rows(kind)]
    assert {guidance.ClassifierFree, guidance.Particles, guidance.TopK} <= set(methods)
    assert [kind.__name__ for kind in methods if kind.__name__ not in documented] == []


def has_base_or_rows(kind: Any) -> bool:
    return hasattr(kind, "rows") or "base" in {field.name for field in dataclasses.fields(kind)}


def test_equations_become_mathml():
    markdown = pytest.importorskip("markdown")
    config = pytest.importorskip("mkdocs.config.defaults").MkDocsConfig()
    config.mdx_configs, config.markdown_extensions = {}, ["pymdownx.superfences"]
    runpy.run_path(str(DOCS / "site" / "mathematics.py"))["on_config"](config)
    reader = markdown.Markdown(extensions=config.markdown_extensions, extension_configs=config.mdx_configs)
    html = reader.convert("Inline $`a_1 * b * c`$.\n\n```math\n\\frac{x_0}{2}\n```\n\n`$HOME` costs $5.")
    assert html.count("<math") == 2
    assert "<mfrac>" in html
    assert 'display="block"' in html
    assert "<em>" not in html
    assert "<code>$HOME</code> costs $5." in html


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing_from_another_host(tmp_path: Path):
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    built = sorted((tmp_path / "site").rglob("*.html"))
    assert {Path(page).with_suffix(".html") for page in PAGES} <= {
        page.relative_to(tmp_path / "site") for page in built
    }
    assert [(page.name, match.group()) for page in built for match in LOADED.finditer(page.read_text())] == []
    assert not any("```" in page.read_text() or "<!-- include" in page.read_text() for page in built)
