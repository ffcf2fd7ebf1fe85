"""Frechet distance and Inception Score of images, with any features."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore

ImageFeatures = Callable[[Tensor], Tensor]
"""From images, uint8 (n, c, h, w) with values from 0 to 255, to features (n, d)."""


class FrechetDistance:
    """Distance of images to `real` ones, as Gaussians fitted to the features of each (Heusel et al., arXiv 1706.08500).

        d² = |μ - μ'|² + tr(Σ + Σ' - 2 (Σ Σ')^½)

    With `inception_features` it is the Frechet Inception Distance. It falls as the number of images grows: distances
    are comparable where they are of equally many. torchmetrics computes it, in float64.

    Args:
        real: uint8 (n, c, h, w).
        features: from images to (n, d).
        batch_size: images whose features are computed at once.

    Raises:
        ValueError: If there are fewer than two images.
    """

    def __init__(self, real: Tensor, features: ImageFeatures, *, batch_size: int = 256) -> None:
        _check(real)
        self.batch_size = batch_size
        extractor = _Extractor(features)
        extractor.num_features = extractor(real[:1]).shape[1]
        self._metric = FrechetInceptionDistance(extractor, reset_real_features=False).to(real.device)
        self._update(real, real=True)

    def __call__(self, images: Tensor) -> float:
        """The distance of images, uint8 (n, c, h, w), to the real ones.

        Raises:
            ValueError: If there are fewer than two.
        """
        _check(images)
        self._metric.reset()
        self._update(images, real=False)
        # Of equal Gaussians it is zero up to rounding, which may be below.
        return max(float(self._metric.compute()), 0.0)

    def _update(self, images: Tensor, *, real: bool) -> None:
        for batch in images.split(self.batch_size):
            self._metric.update(batch, real=real)


def frechet_distance(real: Tensor, generated: Tensor, features: ImageFeatures, *, batch_size: int = 256) -> float:
    """The `FrechetDistance` of two sets of images, uint8 (n, c, h, w) each."""
    return FrechetDistance(real, features, batch_size=batch_size)(generated)


def inception_score(
    images: Tensor, logits: ImageFeatures, *, splits: int = 10, batch_size: int = 256, seed: int = 0
) -> tuple[float, float | None]:
    """Mean and standard deviation over splits of the Inception Score (Salimans et al., arXiv 1606.03498).

        IS = exp(E_x KL(p(y | x) || p(y))),    p(y) = E_x p(y | x)

    between 1, where images say nothing of their class or all say the same, and the number of classes.

    Args:
        images: uint8 (n, c, h, w).
        logits: from images to the logits of p(y | x), (n, classes).
        splits: parts, drawn at random, for each of which it is computed; of one there is no standard deviation.
        batch_size: images whose logits are computed at once.
        seed: decides the parts.

    Raises:
        ValueError: If there are fewer images than parts.
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
    """Any function as the module that torchmetrics asks for."""

    num_features: int

    def __init__(self, features: ImageFeatures) -> None:
        super().__init__()
        # Hidden in a partial, a module of the caller's is not moved or copied as a part of this one.
        self.features = partial(features)

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return self.features(images).double()


def _check(images: Tensor) -> None:
    if images.ndim != 4 or images.dtype != torch.uint8 or len(images) < 2:
        raise ValueError(f"Expected at least 2 images, uint8 (n, c, h, w), got {images.dtype} {tuple(images.shape)}.")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """torchmetrics draws from the global generator, which is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torchmetrics' warning that it keeps the logits, and torch's of a deviation of one number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
