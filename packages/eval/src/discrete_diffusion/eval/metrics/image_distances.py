"""Fréchet distance and Inception Score of images, with any features."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore

ImageFeatures = Callable[[UInt8[Tensor, "n c h w"]], Float[Tensor, "n d"]]
"""Function from images to their features."""


class FrechetDistance:
    """Distance of Gaussians fitted to the features of images and of real images (Heusel et al., arXiv 1706.08500).

        d² = |μ - μ'|² + tr(Σ + Σ' - 2 (Σ Σ')^½)

    With `inception_features` it is the Fréchet Inception Distance. The distance falls as the number of images grows, so
    compare equal numbers. torchmetrics computes it, in float64.

    Args:
        real: Real images.
        features: Function from images to their features.
        batch_size: Images per batch.

    Raises:
        ValueError: If there are fewer than two images, or they are not uint8 (n, c, h, w).
    """

    def __init__(self, real: UInt8[Tensor, "n c h w"], features: ImageFeatures, *, batch_size: int = 256) -> None:
        _check(real)
        self.batch_size = batch_size
        extractor = _Extractor(features)
        extractor.num_features = extractor(real[:1]).shape[1]
        self._metric = FrechetInceptionDistance(extractor, reset_real_features=False).to(real.device)
        self._update(real, real=True)

    def __call__(self, images: UInt8[Tensor, "n c h w"]) -> float:
        """Return the distance of images to the real images.

        Args:
            images: Images to compare.

        Raises:
            ValueError: If there are fewer than two images, or they are not uint8 (n, c, h, w).
        """
        _check(images)
        self._metric.reset()
        self._update(images, real=False)
        # Rounding can put the distance of equal Gaussians below zero.
        return max(float(self._metric.compute()), 0.0)

    def _update(self, images: Tensor, *, real: bool) -> None:
        for batch in images.split(self.batch_size):
            self._metric.update(batch, real=real)


def frechet_distance(
    real: UInt8[Tensor, "n c h w"],
    generated: UInt8[Tensor, "m c h w"],
    features: ImageFeatures,
    *,
    batch_size: int = 256,
) -> float:
    """Return the `FrechetDistance` of two sets of images.

    Args:
        real: Real images.
        generated: Images to compare.
        features: Function from images to their features.
        batch_size: Images per batch.

    Raises:
        ValueError: If there are fewer than two images in a set, or they are not uint8 (n, c, h, w).
    """
    return FrechetDistance(real, features, batch_size=batch_size)(generated)


def inception_score(
    images: UInt8[Tensor, "n c h w"], logits: ImageFeatures, *, splits: int = 10, batch_size: int = 256, seed: int = 0
) -> tuple[float, float | None]:
    """Return mean and standard deviation of the Inception Score over splits (Salimans et al., arXiv 1606.03498).

        IS = exp(E_x KL(p(y | x) || p(y))),    p(y) = E_x p(y | x)

    The score is between 1, if all images have the same p(y | x), and the number of classes.

    Args:
        images: Images to score.
        logits: Function from images to the logits of p(y | x).
        splits: Number of random parts to score; with one part the standard deviation is None.
        batch_size: Images per batch.
        seed: Seed of the split.

    Raises:
        ValueError: If `splits` < 1, or there are fewer images than splits.
    """
    if not 1 <= splits <= len(images):
        raise ValueError(f"Expected 1 <= `splits` <= {len(images)}, the number of images, got {splits}.")
    with _quiet(), _seeded(seed):
        metric = InceptionScore(_Extractor(logits), splits=splits).to(images.device)
        for batch in images.split(batch_size):
            metric.update(batch)
        mean, deviation = metric.compute()
    return float(mean), float(deviation) if splits > 1 else None


class _Extractor(nn.Module):
    """Module that torchmetrics requires, around a function."""

    num_features: int

    def __init__(self, features: ImageFeatures) -> None:
        super().__init__()
        # A partial hides a caller's module, so that it is not moved or copied with this one.
        self.features = partial(features)

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return self.features(images).double()


def _check(images: Tensor) -> None:
    if images.ndim != 4 or images.dtype != torch.uint8 or len(images) < 2:
        raise ValueError(f"Expected at least 2 images, uint8 (n, c, h, w), got {images.dtype} {tuple(images.shape)}.")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generator, from which torchmetrics draws, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings about kept logits (torchmetrics) and the deviation of a single number (torch)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
