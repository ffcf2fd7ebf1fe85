"""Animation of tokens from noise to data."""

import math
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from discrete_diffusion.eval.plots.style import ACCENT, INK, MUTED, PAPER, RULE, font

_SCALE = 2  # drawn at twice the size, then reduced, for smooth edges
_CELL, _GAP, _MARGIN, _PANEL = (44, 34), 4, 18, 136
_NARROWEST, _WIDEST, _LEGIBLE = 30, 96, 12.0  # widths of a cell; size of a font that is easy to read
_HEADER, _FOOTER = 70, 34
_MASK, _SPECIAL, _PUNCTUATION, _BAR = "#9aa1ad", "#e3e6ea", "#f5f6f8", "#0072b2"
_ELEMENTS = {"C": "#e9e2d3", "N": "#c9e0f5", "O": "#fbd3bd", "F": "#c5ead9", "S": "#f6eab5"}
_OTHERS = ("#d9d5ee", "#f5d3e4", "#d3ecf2", "#e6ecc4", "#f3dccb", "#cfe3d4")


@runtime_checkable
class Illustrator(Protocol):
    """Function that draws a string."""

    def __call__(self, string: str, size: tuple[int, int], /) -> Image.Image | None:
        """Return an image of `size` (width, height) in pixels, or None if the string cannot be drawn."""


def draw_denoising(
    samples: Sequence[Sequence[Sequence[str]]],
    path: str | Path,
    *,
    times: Sequence[float] | None = None,
    special: Collection[str] = (),
    mask: str | None = None,
    text: Callable[[Sequence[str]], str] | None = None,
    illustrate: Illustrator | None = None,
    columns: int = 16,
    max_frames: int = 33,
    frame_ms: int = 160,
    hold_ms: int = 3000,
    title: str = "Denoising",
) -> Path:
    """Write a GIF of the tokens of one or more samples from noise to data.

    Special tokens are light gray and masks dark gray. Tokens that changed since the last frame are outlined.

    Args:
        samples: States of each sample from noise to data; a state is a list of tokens. From left to right, it holds
            those that exist.
        path: GIF to write.
        times: Time t of each state, 1 = noise, 0 = data; by default evenly spaced from 1 to 0.
        special: Tokens drawn in gray and left out of the text, such as begin, end and padding.
        mask: Mask token. States that contain it, and empty ones, are not illustrated.
        text: Function from the tokens of a state to its string; by default it joins the tokens that are not special.
        illustrate: Function that draws this string beside the tokens, such as `molecule_image`.
        columns: Most tokens in a row of cells of the usual width. Cells fit the tokens: those of single letters are
            narrower, those of words are wider, with more and fewer in a row.
        max_frames: Number of frames to which longer trajectories are thinned, keeping the first and last state.
        frame_ms: Duration of a frame, in milliseconds.
        hold_ms: Duration of the last frame, in milliseconds.
        title: Title.

    Raises:
        ValueError: If there is no sample or no state, samples or `times` differ in their number of states,
            `columns` < 1, or `max_frames` < 2.
    """
    steps = {len(states) for states in samples}
    if len(steps) != 1 or 0 in steps:
        raise ValueError(f"Expected samples with the same number >= 1 of states, got {sorted(steps) or 'no samples'}.")
    (count,) = steps
    if times is None:
        times = np.linspace(1.0, 0.0, count).tolist()
    if len(times) != count:
        raise ValueError(f"Expected {count} `times`, one for each state, got {len(times)}.")
    if columns < 1 or max_frames < 2:
        raise ValueError(f"Expected `columns` >= 1 and `max_frames` >= 2, got {columns} and {max_frames}.")

    def join(tokens: Sequence[str]) -> str:
        return "".join(token for token in tokens if token not in special and token != mask)

    write = text or join
    kept = sorted(set(np.linspace(0, count - 1, min(count, max_frames)).round().astype(int).tolist()))
    longest = max(len(state) for states in samples for state in states)
    cell = _cell_width(Counter(token for states in samples for state in states for token in state), {*special, mask})
    lines = max(-(-longest // max(columns * (_CELL[0] + _GAP) // (cell + _GAP), 1)), 1)
    columns = max(-(-longest // lines), 1)  # rows of equal length
    across = columns * (cell + _GAP) - _GAP
    block = max(lines * (_CELL[1] + _GAP) - _GAP, _PANEL if illustrate else 0)
    heading = font(17, bold=True).getlength(title) + 30 + font(13).getlength(_status(1.0, count - 1, count - 1))
    width = 2 * _MARGIN + max(across + (_PANEL + 16 if illustrate else 0), math.ceil(heading))
    height = _HEADER + len(samples) * (block + 16) + _FOOTER
    frames = []
    before = kept[0]
    for index in kept:
        frame = Image.new("RGB", (width * _SCALE, height * _SCALE), PAPER)
        pen = ImageDraw.Draw(frame)
        _draw_header(pen, width, title, times[index], index, count - 1)
        for row, states in enumerate(samples):
            top = _HEADER + row * (block + 16)
            state, last = states[index], states[before]
            offset = (block - (lines * (_CELL[1] + _GAP) - _GAP)) // 2
            for position, token in enumerate(state):
                line, column = divmod(position, columns)
                corner = (_MARGIN + column * (cell + _GAP), top + offset + line * (_CELL[1] + _GAP))
                changed = position >= len(last) or last[position] != token
                gray = _MASK if token == mask else _SPECIAL if token in special else None
                _draw_cell(pen, corner, cell, token, gray, changed)
            if illustrate:
                corner = (width - _MARGIN - _PANEL, top + (block - _PANEL) // 2)
                string = write(state) if state and mask not in state else None
                _draw_panel(
                    frame, pen, corner, string, illustrate, "not valid yet" if index < count - 1 else "not valid"
                )
        _draw_legend(pen, height - _FOOTER + 6, bool(special), mask is not None)
        frames.append(frame.resize((width, height), Image.Resampling.LANCZOS))
        before = index
    return _save(frames, Path(path), frame_ms, hold_ms)


def _cell_color(token: str) -> str:
    letters = [character for character in token if character.isalpha()]
    if not letters:
        return _PUNCTUATION
    if token[0] == "[" or len(token) == 1:
        known = _ELEMENTS.get(letters[0].upper())
        if known:
            return known
    return _OTHERS[zlib.crc32(token.encode()) % len(_OTHERS)]


def _cell_width(counts: Mapping[str, int], gray: Collection[str | None]) -> int:
    """Return the width of a cell in which nine tokens of ten are legible."""
    shown = {token: token.strip("<>[]") if token in gray else token for token in counts}
    widths = [font(10 if token in gray else _LEGIBLE).getlength(text) + 7 for token, text in shown.items()]
    order = np.argsort(widths)
    reached = np.cumsum(np.array(list(counts.values()), dtype=int)[order])
    width = np.array(widths)[order][np.searchsorted(reached, 0.9 * reached[-1])] if widths else _CELL[0]
    return min(max(math.ceil(width), _NARROWEST), _WIDEST)


def _draw_cell(
    pen: ImageDraw.ImageDraw, corner: tuple[int, int], width: int, token: str, gray: str | None, changed: bool
) -> None:
    x, y = (value * _SCALE for value in corner)
    w, h = width * _SCALE, _CELL[1] * _SCALE
    outline, border = (ACCENT, 2 * _SCALE) if changed else (RULE, 1)
    box = (x, y, x + w - 1, y + h - 1)
    pen.rounded_rectangle(box, 6 * _SCALE, fill=gray or _cell_color(token), outline=outline, width=border)
    shown = token.strip("<>[]") if gray else token
    size, room = (10.0 if gray else 15.5) * _SCALE, w - 7 * _SCALE
    # Regular letters are narrower than bold ones, so a token that is too wide for its cell shrinks less.
    bold = not gray and pen.textlength(shown, font=font(size, bold=True)) <= room
    length = pen.textlength(shown, font=font(size, bold=bold))
    size = max(size * min(1.0, room / max(length, 1.0)), 5.0 * _SCALE)
    color = PAPER if gray == _MASK else MUTED if gray else INK
    pen.text((x + w / 2, y + h / 2), shown, fill=color, font=font(size, bold=bold), anchor="mm")


def _status(t: float, step: int, steps: int) -> str:
    return f"step {step:>{len(str(steps))}} of {steps}     t = {abs(t):.2f}"


def _draw_header(pen: ImageDraw.ImageDraw, width: int, title: str, t: float, step: int, steps: int) -> None:
    left, right = _MARGIN * _SCALE, (width - _MARGIN) * _SCALE
    pen.text((left, 24 * _SCALE), title, fill=INK, font=font(17 * _SCALE, bold=True), anchor="lm")
    pen.text((right, 24 * _SCALE), _status(t, step, steps), fill=MUTED, font=font(13 * _SCALE), anchor="rm")
    bar = (left, 44 * _SCALE, right, 50 * _SCALE)
    pen.rounded_rectangle(bar, 3 * _SCALE, fill=_SPECIAL)
    done = left + (right - left) * min(max(1.0 - t, 0.0), 1.0)
    if done - left >= 6 * _SCALE:
        pen.rounded_rectangle((left, bar[1], done, bar[3]), 3 * _SCALE, fill=_BAR)


def _draw_panel(
    frame: Image.Image,
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    string: str | None,
    illustrate: Illustrator,
    absent: str,
) -> None:
    x, y, side = corner[0] * _SCALE, corner[1] * _SCALE, _PANEL * _SCALE
    inner = side - 8 * _SCALE
    picture = None if string is None else illustrate(string, (inner, inner))
    if picture is not None:
        frame.paste(picture.convert("RGB"), (x + 4 * _SCALE, y + 4 * _SCALE))
    else:
        pen.text((x + side / 2, y + side / 2), absent, fill="#a3a9b4", font=font(11 * _SCALE), anchor="mm")
    pen.rounded_rectangle((x, y, x + side - 1, y + side - 1), 8 * _SCALE, outline=RULE, width=_SCALE)


def _draw_legend(pen: ImageDraw.ImageDraw, y: int, special: bool, mask: bool) -> None:
    x = float(_MARGIN * _SCALE)
    middle, side = (y + 10) * _SCALE, 14 * _SCALE
    entries = [("changed in this step", PAPER, ACCENT, 2 * _SCALE)]
    if special:
        entries.append(("special token", _SPECIAL, RULE, 1))
    if mask:
        entries.append(("mask", _MASK, RULE, 1))
    for label, fill, outline, border in entries:
        box = (x, middle - side / 2, x + side, middle + side / 2)
        pen.rounded_rectangle(box, 3 * _SCALE, fill=fill, outline=outline, width=border)
        pen.text((x + 20 * _SCALE, middle), label, fill=MUTED, font=font(11 * _SCALE), anchor="lm")
        x += 44 * _SCALE + pen.textlength(label, font=font(11 * _SCALE))


def _save(frames: Sequence[Image.Image], path: Path, frame_ms: int, hold_ms: int) -> Path:
    # One palette for all frames avoids flicker and lets the GIF skip areas that do not change.
    chosen = [frames[0], frames[len(frames) // 2], frames[-1]]
    sheet = Image.new("RGB", (frames[0].width, frames[0].height * len(chosen)))
    for index, frame in enumerate(chosen):
        sheet.paste(frame, (0, index * frame.height))
    # The palette holds the colors of the layout exactly, those of smooth edges and illustrations approximately.
    exact = (PAPER, INK, MUTED, RULE, ACCENT, _MASK, _SPECIAL, _PUNCTUATION, _BAR, *_ELEMENTS.values(), *_OTHERS)
    found = sheet.quantize(100, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).getpalette() or []
    colors = np.array([ImageColor.getrgb(color)[:3] for color in exact])
    extra = np.array(found[:300], dtype=int).reshape(-1, 3)
    far = np.linalg.norm(extra[:, None] - colors[None], axis=-1).min(axis=1) > 12.0
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([colors, extra[far]]).ravel().tolist())
    flat = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    path.parent.mkdir(parents=True, exist_ok=True)
    durations = [frame_ms] * (len(flat) - 1) + [hold_ms]
    flat[0].save(path, save_all=True, append_images=flat[1:], duration=durations, loop=0, optimize=True)
    return path
