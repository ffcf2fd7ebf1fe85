"""Equations as GitHub spells them, a fenced block `math` and $`...`$ in a line, turned into MathML."""

import re
from typing import Any, Literal

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from mkdocs.config.defaults import MkDocsConfig

BEFORE_CODE = 200  # Python-Markdown's own backticks have 190

# TeX puts a thin space around the name of a function, the converter none.
_THIN = re.compile(r"(?<=</mi>)(?=<mi>(?:log|exp|cos)</mi>)|(?<=<mi>(?:log|exp|cos)</mi>)(?=<m(?:i|sub|sup|over)>)")


class _InLine(InlineProcessor):
    def handleMatch(self, match: re.Match[str], data: str) -> tuple[str, int, int]:  # noqa: N802
        return self.md.htmlStash.store(mathml(match[1])), match.start(), match.end()


class _InLineMathematics(Extension):
    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        md.inlinePatterns.register(_InLine(r"\$`([^`\n]+)`\$", md), "mathematics", BEFORE_CODE)


def mathml(source: str, display: Literal["inline", "block"] = "inline") -> str:
    """LaTeX as MathML, which browsers draw by themselves."""
    return _THIN.sub('<mspace width="0.17em"/>', convert(source, display=display))


def displayed(source: str, *_: Any, **__: Any) -> str:
    """A fenced block of LaTeX as one displayed equation."""
    return f'<div class="equation">{mathml(source.strip(), display="block")}</div>'


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add both spellings to the site's Markdown."""
    fence = {"name": "math", "class": "equation", "format": displayed}
    config.mdx_configs.setdefault("pymdownx.superfences", {})["custom_fences"] = [fence]
    config.markdown_extensions.append(_InLineMathematics())
    return config
