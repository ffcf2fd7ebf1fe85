"""Metrics of generated images."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from discrete_diffusion.checkpoints import load_classifier
from discrete_diffusion.datasets import SequenceData
from discrete_diffusion.eval import (
    FrechetDistance,
    ImageFeatures,
    PixelComponents,
    Pixels,
    classifier_features,
    draw_image_grid,
    inception_score,
    pixel_image,
)
from discrete_diffusion.evaluator.metrics import Number, Outcome, Run, described, name_of
from discrete_diffusion.evaluator.pictures import draw_novel_distribution
from discrete_diffusion.evaluator.point import Point
from discrete_diffusion.evaluator.training_images import TrainingImages

COMPONENTS, SPLITS = 32, 10


class ImageMetrics:
    """Valid, distinct and novel images, how far they are from the training data, and a property of them.

    An image is valid where every token is a level. `pixel_fid` is the Frechet distance of 32 principal components of
    the pixels, which needs no network; `fid` and `inception_score` are there where a network is given.
    `nearest_training_mean` and `nearest_training_min` are root-mean-square differences, in [0, 1], to the nearest
    training image: near 0 they were learned by heart. A training image in a mirror is novel. Frechet distances fall as
    the number of samples grows.

    Args:
        data: the data whose training rows count as known.
        property: from a string of levels to a number, its mean intensity in [0, 1] if None.
        property_name: its name, that of the function if None.
        height: rows of an image; what is None of the three is that of a square of one channel, or of three.
        width: pixels of a row.
        channels: tokens of a pixel.
        features: what `fid` compares; the classifier's logits if None.
        logits: what `inception_score` takes for the classes; the classifier's if None.
        classifier: the folder of a classifier of clean images that the trainer made.
        device: where the classifier is run.
        rows: how many training images, evenly spread, samples are compared with; for `novel` it is all.
    """

    noun = "images"
    shown: Mapping[str, str] = MappingProxyType({"valid": "valid", "distinct": "distinct", "novel": "novel"})

    def __init__(
        self,
        data: SequenceData,
        property: Callable[[str], float] | None = None,
        property_name: str | None = None,
        height: int | None = None,
        width: int | None = None,
        channels: int | None = None,
        features: ImageFeatures | None = None,
        logits: ImageFeatures | None = None,
        classifier: str | None = None,
        device: str = "cpu",
        rows: int = 10_000,
    ) -> None:
        self.pixels = Pixels.of(data.tokenizer.get_vocab(), data.length, height, width, channels)
        self.property = self.intensity if property is None else property
        self.property_name = property_name or ("intensity" if property is None else name_of(property))
        self.known = TrainingImages(data, self.pixels, rows)
        real = self.known.images
        if property is None:
            self.training_values = (real.mean(axis=(1, 2, 3)) / (self.pixels.levels - 1)).tolist()
        else:
            strings = (" ".join(map(str, one)) for one in real.reshape(len(real), -1))
            self.training_values = [float(property(one)) for one in strings]
        self.training = described(self.training_values)
        if classifier is not None:
            network = load_classifier(classifier).network.to(device)
            told = classifier_features(network, self.pixels.levels, device=device)
            features, logits = features or told, logits or told
        self.features, self.logits = features, logits
        self.real = self._tensor(real)
        self.pixel_distance = FrechetDistance(self.real, PixelComponents(self.real, COMPONENTS))

    @cached_property
    def distance(self) -> FrechetDistance | None:
        """From the training images, by `features`, which are computed when they are first asked for."""
        return None if self.features is None else FrechetDistance(self.real, self.features)

    def __call__(self, strings: Sequence[str], wanted: Sequence[int] | None = None) -> Outcome:
        """Compare with the training data."""
        read = {one: self.pixels.read(one) for one in dict.fromkeys(strings)}
        images = {one: levels for one, levels in read.items() if levels is not None}
        values = {one: float(self.property(one)) for one in images}
        near = dict(zip(images, self.known.differences(list(images.values())), strict=True))
        novel = [one for one, levels in images.items() if levels not in self.known]
        valid = [one for one in strings if one in images]
        counts = {"valid": len(valid), "distinct": len(images), "novel": len(novel)}
        numbers: dict[str, Number] = {"generated": len(strings), **counts}
        numbers |= {f"{name}_fraction": count / len(strings) if strings else None for name, count in counts.items()}
        numbers |= self._distances([images[one] for one in valid])
        distances = [near[one] for one in valid]
        numbers["nearest_training_mean"] = float(np.mean(distances)) if valid else None
        numbers["nearest_training_min"] = min(distances, default=None)
        numbers |= {f"valid_property_{k}": v for k, v in described([values[one] for one in valid]).items()}
        numbers |= {f"novel_property_{k}": v for k, v in described([values[one] for one in novel]).items()}
        fresh = set(novel)
        samples = [
            {
                "string": one,
                "valid": one in images,
                "novel": one in fresh,
                "property": values.get(one),
                "nearest_training": near.get(one),
            }
            for one in strings
        ]
        return Outcome(numbers, samples, novel, [values[one] for one in novel])

    def accepts(self, string: str) -> bool:
        """Whether it is an image."""
        return self.pixels.read(string) is not None

    def intensity(self, string: str) -> float:
        """The mean level of an image, as a share of the highest."""
        levels = self.pixels.read(string)
        if levels is None:
            raise ValueError(f"Expected {' x '.join(map(str, self.pixels.shape))} levels, got {string[:60]!r}.")
        return float(levels.mean()) / (self.pixels.levels - 1)

    def illustrate(self, string: str, size: tuple[int, int]) -> Image.Image | None:
        """The image, `size` in pixels; None where the string is none."""
        levels = self.pixels.read(string)
        return None if levels is None else pixel_image(self.pixels.bytes(levels), size)

    def draw(self, runs: Sequence[Run], directory: Path, *, chosen: Point, shown: int) -> list[Path]:
        """The first novel images of the chosen condition's first seed beside the training data; the property."""
        first = next(run for run in runs if run.condition == chosen)
        images = [self.pixels.read(one) for one in first.outcome.novel[:shown]]
        novel = np.array(images, dtype=np.uint8).reshape(-1, *self.pixels.shape)
        known = self.known.images
        groups = {
            "novel": novel,
            "the nearest training images": known[self.known.nearest(novel)],
            "any training images": known[:: max(len(known) // max(shown, 1), 1)][:shown],
        }
        grid = draw_image_grid(
            {name: self.pixels.bytes(group) for name, group in groups.items()},
            directory / "images.png",
            columns=6,
            title=f"The first {len(novel)} novel images of seed {first.seed} ({chosen.title()})",
        )
        distribution = draw_novel_distribution(
            runs,
            chosen,
            self.training_values,
            directory,
            property_name=self.property_name,
            noun=self.noun,
        )
        return [grid, distribution]

    def _distances(self, images: Sequence[np.ndarray]) -> dict[str, Number]:
        enough = len(images) >= 2
        shown = self._tensor(np.array(images)) if enough else None
        told: dict[str, Number] = {"pixel_fid": None if shown is None else self.pixel_distance(shown)}
        if self.distance is not None:
            told["fid"] = None if shown is None else self.distance(shown)
        if self.logits is not None:
            splits = min(SPLITS, len(images))
            told["inception_score"] = None if shown is None else inception_score(shown, self.logits, splits=splits)[0]
        return told

    def _tensor(self, levels: np.ndarray) -> Tensor:
        """Levels (n, h, w, c) as uint8 (n, c, h, w)."""
        return torch.as_tensor(self.pixels.bytes(levels)).permute(0, 3, 1, 2).contiguous()
