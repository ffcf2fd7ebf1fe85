"""Picture: a sheet of sequences of DNA, their letters in color."""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from discrete_diffusion.eval.dna_pictures import LETTER_COLORS
from discrete_diffusion.eval.style import INK, MUTED, PAPER, font

_SCALE = 2  # pixels for each unit of the layout, so that a page can show the sheet at half its size


def draw_dna(
    sequences: Sequence[str],
    path: str | Path,
    *,
    values: Sequence[float] | None = None,
    property_name: str = "GC content",
    letters: int = 256,
    columns: int = 64,
    title: str = "",
) -> Path:
    """Draw sequences one below the other, the first `letters` letters of each, in lines of `columns`.

    Args:
        sequences: Sequences, in the order drawn; an empty list makes a sheet that says so.
        path: File to write; its suffix decides the format.
        values: The property of each.
        property_name: Name of the property.
        letters: Letters of each that are drawn.
        columns: Letters in a line.
        title: Title.

    Raises:
        ValueError: If there is not one value for each sequence, or `letters` or `columns` < 1.
    """
    if values is not None and len(values) != len(sequences):
        raise ValueError(f"Expected {len(sequences)} `values`, one for each sequence, got {len(values)}.")
    if min(letters, columns) < 1:
        raise ValueError(f"Expected `letters` and `columns` >= 1, got {letters} and {columns}.")
    margin, gap, caption, cell = 14 * _SCALE, 10 * _SCALE, 16 * _SCALE, 12 * _SCALE
    heading = font(15 * _SCALE, bold=True)
    top = margin + (28 * _SCALE if title else 0)
    lines = [max(-(-min(len(one), letters) // columns), 1) for one in sequences]
    widest = min(max((len(one) for one in sequences), default=0), letters, columns) * cell
    across = max(widest, math.ceil(heading.getlength(title)), 280 * _SCALE)
    tall = sum(caption + count * cell for count in lines) + max(len(lines) - 1, 0) * gap if lines else 40 * _SCALE
    sheet = Image.new("RGB", (2 * margin + across, top + tall + margin), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((margin, margin), title, fill=INK, font=heading)
    if not sequences:
        middle = (sheet.width // 2, top + tall // 2)
        pen.text(middle, "no sequences", fill=MUTED, font=font(12 * _SCALE), anchor="mm")
    y, inside = top, font(0.72 * cell, bold=True)
    for index, (one, count) in enumerate(zip(sequences, lines, strict=True)):
        told = f"{index + 1}"
        if values is not None:
            told += f"   ·   {property_name} " + (f"{values[index]:.3f}" if math.isfinite(values[index]) else "–")
        if len(one) > letters:
            told += f"   ·   the first {letters:,} of {len(one):,} letters"
        pen.text((margin, y), told, fill=MUTED, font=font(9.5 * _SCALE))
        y += caption
        for i, letter in enumerate(one[:letters]):
            row, column = divmod(i, columns)
            x, line = margin + column * cell, y + row * cell
            pen.rectangle((x, line, x + cell - 1, line + cell - 1), fill=LETTER_COLORS.get(letter, PAPER))
            ink = PAPER if letter in "ACT" else INK
            pen.text((x + cell / 2, line + cell / 2), letter, fill=ink, font=inside, anchor="mm")
        y += count * cell + gap
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target)
    return target
