"""English prose that comes with Python: its reference, as shown by `help("topics")`."""

import pydoc_data.topics
import re

import datasets
from discrete_diffusion.datasets.chunks import SIZES, chunked

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def prose(chunk: int = 256, crops: bool = False) -> datasets.DatasetDict:
    """Return about 300,000 characters of English in the format of text8, in rows of `chunk` in a column `text`.

    The text is `pydoc_data.topics`, which ships with every CPython and differs a little from version to version. A
    paragraph that several topics share is kept once. It stands in for `text8`: the same 27 characters, rows and split.

    Args:
        chunk: Characters in a row.
        crops: Whether training rows have 2 `chunk` - 1 characters, for `RandomCrop`.

    Raises:
        ValueError: If `chunk` is longer than a part of the text.
    """
    topics = [text for _, text in sorted(pydoc_data.topics.topics.items())]
    paragraphs = dict.fromkeys(paragraph.strip() for text in topics for paragraph in text.split("\n\n"))
    return chunked(normalized(" ".join(paragraphs)), chunk, SIZES, crops=crops)


def normalized(text: str) -> str:
    """Return a text in the format of text8: a-z in lower case, digits spelled out, one space for everything else."""
    spelled = re.sub(r"[0-9]", lambda digit: f" {DIGITS[int(digit.group())]} ", text.lower())
    return re.sub(r"[^a-z]+", " ", spelled)
