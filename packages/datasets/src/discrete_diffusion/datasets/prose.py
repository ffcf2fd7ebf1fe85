"""English prose that every Python has: its own reference, as `help("topics")` shows it."""

import pydoc_data.topics
import re

import datasets
from discrete_diffusion.datasets.chunks import SIZES, chunked

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def prose(chunk: int = 256, crops: bool = False) -> datasets.DatasetDict:
    """Returns some 300,000 characters of English, written as text8 is, in rows of `chunk` in a column `text`.

    The text is `pydoc_data.topics`, which ships with every CPython and differs a little from version to version. A
    paragraph that several topics share is kept once. It stands in for `text8`: the same 27 characters, rows and split.

    Args:
        crops: whether training rows have 2 `chunk` - 1 characters, for `RandomCrop`.

    Raises:
        ValueError: if `chunk` is longer than a part of the text.
    """
    topics = [text for _, text in sorted(pydoc_data.topics.topics.items())]
    paragraphs = dict.fromkeys(paragraph.strip() for text in topics for paragraph in text.split("\n\n"))
    return chunked(normalized(" ".join(paragraphs)), chunk, SIZES, crops=crops)


def normalized(text: str) -> str:
    """Writes a text in a-z and single spaces, as text8 is: lower case, digits spelled out, all else a space."""
    spelled = re.sub(r"[0-9]", lambda digit: f" {DIGITS[int(digit.group())]} ", text.lower())
    return re.sub(r"[^a-z]+", " ", spelled)
