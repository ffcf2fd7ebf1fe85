"""Images."""

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
from discrete_diffusion.evaluator.domains.domain import Domain, Number, Outcome, Run, described, name_of
from discrete_diffusion.evaluator.domains.report_layout import ReportLayout
from discrete_diffusion.evaluator.domains.training_images import TrainingImages
from discrete_diffusion.evaluator.pictures import draw_novel_distribution, sheet_title
from discrete_diffusion.evaluator.point import Point

COMPONENTS, SPLITS = 32, 10


class Images(Domain):
    """Validity, novelty, distance from the training data and a property of images.

    An image is valid if every token is a level. `pixel_fid` is the Frechet distance of 32 principal components of the
    pixels, which needs no network; `fid` and `inception_score` need one. `nearest_training_mean` and
    `nearest_training_min` are root-mean-square differences, in [0, 1], to the nearest training image: values near 0
    mean memorized images. A mirrored training image is novel. Frechet distances fall as the number of samples grows.

    Args:
        data: Data whose training rows count as known.
        property: Function from a string of levels to a number; mean intensity in [0, 1] if None.
        property_name: Name of the property; that of the function if None.
        height: Rows of an image. Sizes that are None are those of a square image of one channel, or of three.
        width: Pixels in a row.
        channels: Tokens in a pixel.
        features: Features that `fid` compares; the classifier's logits if None.
        logits: Logits of the classes for `inception_score`; the classifier's if None.
        classifier: Folder of a classifier of clean images from the trainer.
        device: Device of the classifier.
        rows: Number of training images, evenly spread, that samples are compared with; `novel` compares with all.
    """

    noun = "images"
    layout = ReportLayout(
        style="images",
        longest=0,
        splits_words=False,
        shown_first=None,
        legend=(),
        picture_side=96,
        state_picture_side=128,
        picture_colors=128,
        pictures_alone=True,
    )
    unit = "dimension"
    pictures = MappingProxyType({"images": "novel images, and images of the training data"})
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
            outputs = classifier_features(network, self.pixels.levels, device=device)
            features, logits = features or outputs, logits or outputs
        self.features, self.logits = features, logits
        self.real = self._tensor(real)
        self.pixel_distance = FrechetDistance(self.real, PixelComponents(self.real, COMPONENTS))

    @cached_property
    def distance(self) -> FrechetDistance | None:
        """Frechet distance from the training images by `features`, which are computed at the first use."""
        return None if self.features is None else FrechetDistance(self.real, self.features)

    def __call__(self, strings: Sequence[str], requested: Sequence[int] | None = None) -> Outcome:
        """Compare with the training data."""
        read = {one: self.pixels.read(one) for one in dict.fromkeys(strings)}
        images = {one: levels for one, levels in read.items() if levels is not None}
        values = {one: float(self.property(one)) for one in images}
        near = dict(zip(images, self.known.differences(list(images.values())), strict=True))
        novel = [one for one, levels in images.items() if levels not in self.known]
        valid = [one for one in strings if one in images]
        numbers = self._distances([images[one] for one in valid])
        distances = [near[one] for one in valid]
        numbers["nearest_training_mean"] = float(np.mean(distances)) if valid else None
        numbers["nearest_training_min"] = min(distances, default=None)
        return Outcome.of(strings, values, novel, numbers, {"nearest_training": near})

    def accepts(self, string: str) -> bool:
        """Return whether a string is an image."""
        return self.pixels.read(string) is not None

    def intensity(self, string: str) -> float:
        """Return the mean level of an image, as a share of the highest.

        Raises:
            ValueError: If the string is no image.
        """
        levels = self.pixels.read(string)
        if levels is None:
            raise ValueError(f"Expected {' x '.join(map(str, self.pixels.shape))} levels, got {string[:60]!r}.")
        return float(levels.mean()) / (self.pixels.levels - 1)

    def illustrate(self, string: str, size: tuple[int, int]) -> Image.Image | None:
        """Return the image, `size` in pixels; None if the string is no image."""
        levels = self.pixels.read(string)
        return None if levels is None else pixel_image(self.pixels.bytes(levels), size)

    def draw(self, runs: Sequence[Run], directory: Path, *, chosen: Point, shown: int) -> list[Path]:
        """Draw the first novel images of the chosen condition beside training images, and the property."""
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
            title=sheet_title(first, self.noun, len(novel)),
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
        distances: dict[str, Number] = {"pixel_fid": None if shown is None else self.pixel_distance(shown)}
        if self.distance is not None:
            distances["fid"] = None if shown is None else self.distance(shown)
        if self.logits is not None:
            splits = min(SPLITS, len(images))
            distances["inception_score"] = (
                None if shown is None else inception_score(shown, self.logits, splits=splits)[0]
            )
        return distances

    def _tensor(self, levels: np.ndarray) -> Tensor:
        """Return levels (n, h, w, c) as uint8 (n, c, h, w)."""
        return torch.as_tensor(self.pixels.bytes(levels)).permute(0, 3, 1, 2).contiguous()
