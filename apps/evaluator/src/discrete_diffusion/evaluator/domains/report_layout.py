"""Layout of the samples of a domain in the report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


def word_color(token: str) -> str:
    """Return the color class of a token of text: "word", "number" or "mark"."""
    if any(map(str.isalpha, token)):
        return "word"
    return "number" if any(map(str.isdigit, token)) else "mark"


@dataclass(frozen=True)
class ReportLayout:
    """Layout of samples and of their trajectories in the report; the defaults are those of text.

    Attributes:
        style: Class of the samples in the style sheet: "text", "dna", "drawn" or "images".
        longest: Largest number of characters of a sample that are shown.
        splits_words: Whether the words, numbers and marks of a sample have colors of their own.
        in_tens: Whether the letters of a sample stand in groups of ten.
        shown_first: Number of samples that are shown before the reader asks for more; None for all.
        token_color: Function from a token to its color class in a trajectory.
        legend: Color classes of a sample with their names.
        picture_side: Side of the picture of a sample in pixels; None without pictures.
        state_picture_side: Side of the picture of a state of a trajectory.
        picture_colors: Largest number of colors of a picture.
        pictures_alone: Whether pictures stand in place of the strings.
    """

    style: str = "text"
    longest: int = 2000
    splits_words: bool = True
    in_tens: bool = False
    shown_first: int | None = 8
    token_color: Callable[[str], str] = word_color
    legend: Sequence[tuple[str, str]] = (
        ("word", "word"),
        ("piece", "rest of a word"),
        ("number", "number"),
        ("mark", "mark"),
    )
    picture_side: int | None = None
    state_picture_side: int | None = None
    picture_colors: int = 256
    pictures_alone: bool = False

    def for_script(self) -> dict[str, Any]:
        """Return the attributes that the script of the report reads."""
        return {
            "style": self.style,
            "in_tens": self.in_tens,
            "shown_first": self.shown_first,
            "pictures_alone": self.pictures_alone,
        }
