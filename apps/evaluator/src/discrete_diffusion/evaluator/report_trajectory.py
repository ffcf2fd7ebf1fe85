"""Trajectories of samples in the report."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from discrete_diffusion.checkpoints import Checkpoint
from discrete_diffusion.datasets import decode
from discrete_diffusion.evaluator.domains.report_layout import ReportLayout
from discrete_diffusion.evaluator.embedded_pictures import drawn, embed
from discrete_diffusion.evaluator.pictures import drawn_positions
from discrete_diffusion.guidance import State

FRAMES, SAMPLES, POSITIONS = 33, 6, 1024
BLANK = np.array([197, 190, 224])  # color of a pixel without a level: violet, unlike any gray


def shown_trajectory(
    states: Sequence[State], checkpoint: Checkpoint, layout: ReportLayout, illustrate: Any
) -> dict[str, Any] | None:
    """Return 33 evenly spaced states of at most 6 samples and their first 1,024 positions; None without states.

    Tokens are indices into `tokens`, and pictures into `pictures`, which hold each item once. For a left-to-right
    model, `drawn` is the number of positions that are drawn at each step; later positions have no meaning.
    """
    if not states:
        return None
    tokenizer, length = checkpoint.tokenizer, states[0].x.shape[1]
    kept = np.linspace(0, len(states) - 1, min(len(states), FRAMES)).round().astype(int).tolist()
    xs = torch.stack([states[index].x[:SAMPLES] for index in kept]).cpu()
    times = [states[index].t for index in kept]
    known = drawn_positions([states[index] for index in kept], checkpoint)
    pictures: dict[str, int] = {}
    seen: list[list[int | None]] = []
    for row in range(xs.shape[1]) if layout.state_picture_side is not None and illustrate is not None else ():
        painted = [
            _picture(x, count, checkpoint, layout, illustrate) for x, count in zip(xs[:, row], known, strict=True)
        ]
        seen.append([None if one is None else pictures.setdefault(one, len(pictures)) for one in painted])
    shown = xs[..., : 0 if layout.pictures_alone and seen else POSITIONS]
    ids, where = torch.unique(shown, return_inverse=True)
    return {
        "times": [round(float(t), 4) for t in times],
        "steps": kept,
        "tokens": [_display(tokenizer, one) for one in ids.tolist()],
        "kinds": [_kind(tokenizer, one, layout) for one in ids.tolist()],
        "frames": where.transpose(0, 1).tolist(),
        "drawn": [min(count, POSITIONS) for count in known] if min(known) < length else None,
        "pictures": list(pictures),
        "seen": seen,
        "length": length,
        "left_out": 0 if layout.pictures_alone and seen else max(length - POSITIONS, 0),
    }


def _picture(x: torch.Tensor, count: int, checkpoint: Checkpoint, layout: ReportLayout, illustrate: Any) -> str | None:
    """Return the picture of a state whose first `count` positions are drawn."""
    found, side, colors = None, layout.state_picture_side, layout.picture_colors
    assert side is not None
    if count:
        found = drawn(illustrate, decode(checkpoint.tokenizer, x[None, :count])[0], side, colors)
    image = checkpoint.config["data"].get("image")
    if found is None and layout.pictures_alone and image is not None:
        return embed(_painted(x, count, checkpoint.tokenizer, image, side), colors)
    return found


def _painted(x: torch.Tensor, count: int, tokenizer: Any, image: dict[str, Any], side: int) -> Image.Image:
    """Return an image in which special tokens, and pixels after the first `count`, are violet."""
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    levels = np.array([int(one) if one.isdigit() else -1 for one in tokens])
    values = np.where(np.arange(len(x)) < count, levels[x.numpy()], -1)
    values = values.reshape(image["height"], image["width"], image["channels"])
    colors = np.where(values < 0, BLANK, 255 * values / max(levels.max(), 1))
    scale = max(side // max(values.shape[:2]), 1)
    return Image.fromarray(colors.astype(np.uint8)).resize(
        (values.shape[1] * scale, values.shape[0] * scale), Image.Resampling.NEAREST
    )


def _display(tokenizer: Any, index: int) -> str:
    token = tokenizer.convert_ids_to_tokens(index)
    if index in tokenizer.all_special_ids:
        return token
    text = tokenizer.convert_tokens_to_string([token]) or token
    return text.replace("\n", "↵").replace(" ", "␣") if text.strip() == "" else text.replace("\n", "↵")


def _kind(tokenizer: Any, index: int, layout: ReportLayout) -> str:
    """Return the color class of a token."""
    token = tokenizer.convert_ids_to_tokens(index)
    if index in tokenizer.all_special_ids:
        return "mask" if index == tokenizer.mask_token_id else "special"
    return layout.token_color(token)
