"""Pages of the site that are files of the repository, with links that hold on the site as in the repository.

A line `<!-- include packages/guidance/README.md -->` stands for that file. Links, relative to the file that they are
written in, are led to the page that the target became.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
INCLUDE = re.compile(r"^<!-- include (\S+) -->$", re.MULTILINE)
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)([^)]*)\)")
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}
PAGES |= {f"{home.parent.name}/{home.name}/README.md": f"reference/{home.name}.md" for home in ROOT.glob("*s/*/")}
CARDS = "packages/models/src/discrete_diffusion/models"
PAGES |= {
    f"{CARDS}/{card.parent.name}/README.md": f"models/{card.parent.name}.md" for card in ROOT.glob(f"{CARDS}/*/*.md")
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Pictures that live beside a package are the site's too."""
    for path in sorted(ROOT.glob("packages/*/docs/*.png")):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page's text, with what it includes, and links between pages of the site."""
    folder = posixpath.dirname(page.file.src_uri)

    def led(text: str, home: str) -> str:
        def link(match: re.Match[str]) -> str:
            target = posixpath.normpath(posixpath.join(home, match[1]))
            target = PAGES.get(target, target).removeprefix("docs/")
            return f"]({posixpath.relpath(target, folder or '.')}{match[2]})"

        return LINK.sub(link, text)

    def included(match: re.Match[str]) -> str:
        return led((ROOT / match[1]).read_text(), posixpath.dirname(match[1]))

    return INCLUDE.sub(included, led(markdown, posixpath.join("docs", folder)))
