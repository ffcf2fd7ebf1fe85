"""Sheet of molecules with their property."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from rdkit.Chem.Draw import rdMolDraw2D

from discrete_diffusion.eval.metrics.molecules import parse_smiles
from discrete_diffusion.eval.plots.style import INK, MUTED, PAPER, RULE, font

_SCALE = 2  # pixels per unit of the layout, for sharp images on screens of high resolution


def molecule_image(smiles: str, size: tuple[int, int]) -> Image.Image | None:
    """Return a drawing of the molecule, or None if the string is not valid.

    Args:
        smiles: Molecule.
        size: Width and height in pixels.
    """
    molecule = parse_smiles(smiles)
    if molecule is None:
        return None
    drawer = rdMolDraw2D.MolDraw2DCairo(*size)
    options: Any = drawer.drawOptions()
    # Equal bond lengths make molecules comparable. RDKit shrinks those that do not fit.
    options.fixedBondLength = 0.2 * min(size)
    options.bondLineWidth = max(1, round(min(size) / 120))
    options.minFontSize = options.maxFontSize = max(6, round(0.085 * min(size)))
    options.padding = 0.06
    # Nitrogen, oxygen and fluorine in the colors of the other plots.
    options.updateAtomPalette({7: (0.0, 0.447, 0.698), 8: (0.835, 0.369, 0.0), 9: (0.0, 0.62, 0.451)})
    drawer.DrawMolecule(rdMolDraw2D.PrepareMolForDrawing(molecule))
    drawer.FinishDrawing()
    return Image.open(io.BytesIO(drawer.GetDrawingText())).convert("RGB")


def draw_molecule_grid(
    smiles: Sequence[str],
    path: str | Path,
    *,
    values: Sequence[float] | None = None,
    property_name: str = "QED",
    columns: int = 6,
    cell: int = 170,
    title: str = "",
) -> Path:
    """Draw molecules in rows, each above its property and its string. Invalid strings are marked as such.

    Args:
        smiles: Molecules in the order of the cells. Without any, the sheet says so.
        path: File to write; its suffix decides the format.
        values: Property of each molecule.
        property_name: Name of the property.
        columns: Molecules in a row.
        cell: Width of a cell; the file has two pixels per unit.
        title: Title.

    Raises:
        ValueError: If `values` and `smiles` differ in length, or `columns` < 1.
    """
    if values is not None and len(values) != len(smiles):
        raise ValueError(f"Expected {len(smiles)} `values`, one for each molecule, got {len(values)}.")
    if columns < 1:
        raise ValueError(f"Expected `columns` >= 1, got {columns}.")
    across = min(columns, max(len(smiles), 1))
    rows = max(-(-len(smiles) // columns), 1)
    margin, gap, caption = 14 * _SCALE, 8 * _SCALE, (40 if values is not None else 24) * _SCALE
    top = margin + (28 * _SCALE if title else 0)
    width = cell * _SCALE
    drawn = round(0.8 * width)
    height = drawn + caption
    written = _format(values or ())
    heading = font(15 * _SCALE, bold=True)
    inner = max(across * width + (across - 1) * gap, math.ceil(heading.getlength(title)))
    sheet = Image.new("RGB", (2 * margin + inner, top + margin + rows * height + (rows - 1) * gap), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((margin, margin), title, fill=INK, font=heading)
    if not smiles:
        middle = (sheet.width // 2, (top + sheet.height - margin) // 2)
        pen.text(middle, "no molecules", fill=MUTED, font=font(12 * _SCALE), anchor="mm")
    for index, one in enumerate(smiles):
        row, column = divmod(index, columns)
        x, y = margin + column * (width + gap), top + row * (height + gap)
        pen.rounded_rectangle((x, y, x + width - 1, y + height - 1), 8 * _SCALE, outline=RULE, width=_SCALE)
        center = x + width // 2
        picture = molecule_image(one, (width - 8 * _SCALE, drawn - 6 * _SCALE))
        if picture is not None:
            sheet.paste(picture, (x + 4 * _SCALE, y + 4 * _SCALE))
        else:
            pen.text((center, y + drawn // 2), "not valid", fill=MUTED, font=font(11 * _SCALE), anchor="mm")
        if values is not None:
            text = f"{property_name} {written[index]}"
            pen.text((center, y + drawn + 9 * _SCALE), text, fill=INK, font=font(11.5 * _SCALE, bold=True), anchor="mm")
        _write_fitted(pen, (center, y + height - 13 * _SCALE), one, width - 16 * _SCALE)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target)
    return target


def _format(values: Sequence[float]) -> list[str]:
    """Format values with equally many decimals, so that the largest has three significant digits."""
    finite = [abs(value) for value in values if math.isfinite(value)]
    whole = all(value == round(value) for value in finite)
    largest = max(finite, default=0.0)
    decimals = 0 if whole else min(max(2 - math.floor(math.log10(largest)), 0), 6)
    return [f"{value:.{decimals}f}" if math.isfinite(value) else "–" for value in values]


def _write_fitted(pen: ImageDraw.ImageDraw, middle: tuple[int, int], text: str, width: int) -> None:
    """Write text no wider than `width`: in a smaller font, then cut short."""
    for size in (9.5, 8.5, 7.5):
        if pen.textlength(text, font=font(size * _SCALE)) <= width:
            break
    while text and pen.textlength(text, font=font(size * _SCALE)) > width:
        text = text[:-2] + "…" if len(text) > 2 else ""
    pen.text(middle, text, fill=MUTED, font=font(size * _SCALE), anchor="mm")
