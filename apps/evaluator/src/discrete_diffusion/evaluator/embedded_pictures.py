"""Pictures embedded in the report."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from discrete_diffusion.evaluator.domains.domain import Domain
from discrete_diffusion.evaluator.pictures import pretty

WIDEST, HEAVIEST = 1500, 200_000


@dataclass(frozen=True)
class Plot:
    """Plot of an evaluation: its file, its content as a data URI, its size in pixels, and its caption."""

    name: str
    source: str
    width: int
    height: int
    caption: str


def data_uri(png: bytes) -> str:
    """Return a PNG as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def embed(picture: Image.Image, colors: int = 256) -> str:
    """Return a picture as a data URI, with at most `colors` colors."""
    file = io.BytesIO()
    flat = picture.convert("RGB").quantize(colors, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    flat.save(file, "PNG", optimize=True)
    return data_uri(file.getvalue())


def plots(directory: Path, domain: Domain) -> list[Plot]:
    """Return every PNG in the folder, first those with a caption; large ones are scaled down."""
    noun, property = domain.noun, pretty(domain.property_name)
    of_data = "in the training data, and among the samples at each strength."
    captions = {
        "samplers": "Quality and token entropy of every sampler against its network evaluations for each sample.",
        "frontier": f"How many novel {noun} each strength of guidance leaves, and their mean {property}.",
        "accuracy": f"Number of novel {noun}, and fraction of samples that a judge assigns to the target class.",
        "distribution": f"{property[:1].upper()}{property[1:]} {of_data}",
        "cost": f"What a higher {property} takes in seconds.",
        "particles": "Effective particles, and how often they are resampled, from noise (t = 1) to data (t = 0).",
        **{name: _sentence(caption) for name, caption in domain.pictures.items()},
    }
    order = list(captions)
    paths = sorted(
        directory.glob("*.png"), key=lambda path: (order.index(path.stem) if path.stem in order else 99, path.name)
    )
    return [
        _plot(path, captions.get(path.stem, _sentence(path.stem.replace("_", " ").replace("-", " ")))) for path in paths
    ]


def drawn(illustrate: Any, string: str, side: int, colors: int) -> str | None:
    """Return the picture of a string as a data URI, None if it has no picture."""
    picture = illustrate(string, (side, side))
    return None if picture is None else embed(picture, colors)


def _plot(path: Path, caption: str) -> Plot:
    png = path.read_bytes()
    with Image.open(io.BytesIO(png)) as picture:
        size = picture.size
        if size[0] <= WIDEST and len(png) <= HEAVIEST:
            return Plot(path.name, data_uri(png), *size, caption)
        share = min(1.0, WIDEST / size[0])
        small = picture.convert("RGB").resize(
            (round(size[0] * share), round(size[1] * share)), Image.Resampling.LANCZOS
        )
    return Plot(path.name, embed(small), *small.size, caption)


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
