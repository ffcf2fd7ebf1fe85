"""What images are compared by."""

import importlib.util
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from scipy.sparse.linalg import svds
from torch import Tensor

from discrete_diffusion.eval.metrics.image_distances import ImageFeatures


class PixelComponents:
    """The first principal components of pixels: features that need no network and know nothing of what is seen.

        f(x) = W (x / 255 - μ),    rows of W the leading eigenvectors of the covariance of the images it is fitted to

    A Frechet distance of them tells whether means, contrasts and coarse shapes agree. It is no Inception distance.

    Args:
        images: uint8 (n, c, h, w), at least 3.
        components: how many, or as many as there can be.
    """

    def __init__(self, images: Tensor, components: int = 32) -> None:
        if len(images) < 3:
            raise ValueError(f"Expected at least 3 images to find components of, got {len(images)}.")
        if components < 1:
            raise ValueError(f"Expected `components` >= 1, got {components}.")
        pixels = images.flatten(1).cpu().numpy().astype(np.float32) / 255
        self.mean = pixels.mean(0)
        start = np.random.default_rng(0).standard_normal(min(pixels.shape)).astype(np.float32)
        _, _, rows = svds(pixels - self.mean, k=min(components, min(pixels.shape) - 1), v0=start)
        self.rows = rows.astype(np.float32)

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (n, c, h, w) to (n, components)."""
        pixels = images.flatten(1).float() / 255 - torch.as_tensor(self.mean, device=images.device)
        return pixels @ torch.as_tensor(self.rows, device=images.device).T


def classifier_features(
    network: Callable[[Tensor, Tensor], Tensor], levels: int, *, device: str | torch.device = "cpu"
) -> ImageFeatures:
    """What a classifier of tokens says of images: for an Inception Score its logits, for a Frechet distance features.

    Args:
        network: from the levels of clean images, int64 (n, h * w * c), channels last, and zeros (n,), the noise level,
            to (n, d).
        levels: how many a pixel has; the first is the value 0, the last 255.
        device: where the network is.
    """

    def features(images: Tensor) -> Tensor:
        x = (images.double() * (levels - 1) / 255).round().long().to(device)
        return network(x.permute(0, 2, 3, 1).flatten(1), torch.zeros(len(x), device=device)).to(images.device)

    return features


def inception_features(
    weights: str | os.PathLike[str], layer: str = "2048", *, device: str | torch.device = "cpu"
) -> ImageFeatures:
    """Features of the Inception network that published distances use, with its weights from a local file.

    The network is torch-fidelity's, which has to be installed for this alone. Images of one channel are shown in gray,
    and all are enlarged to 299 x 299 as TensorFlow did.

    Args:
        weights: torch-fidelity's weights-inception-2015-12-05-6726825d.pth.
        layer: "2048" (or "64", "192", "768") for a Frechet distance, "logits_unbiased" for an Inception Score.
        device: where it is computed.

    Raises:
        ImportError: If torch-fidelity is not installed.
        FileNotFoundError: If there is no such file.
        ValueError: If there is no such layer, or the file holds something else.
    """
    layers = ("64", "192", "768", "2048", "logits_unbiased")
    if layer not in layers:
        raise ValueError(f"Expected `layer` to be one of {', '.join(layers)}, got {layer!r}.")
    if importlib.util.find_spec("torch_fidelity") is None:
        raise ImportError("`inception_features` needs torch-fidelity: `pip install torch-fidelity`.")
    path = Path(weights).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"Expected Inception's weights, but {path} does not exist.")
    from torchmetrics.image.fid import NoTrainInceptionV3

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        # torch-fidelity would run what the file says: it gets one that says nothing but numbers.
        with TemporaryDirectory() as folder:
            safe = Path(folder) / path.name
            torch.save(state, safe)
            network = NoTrainInceptionV3("inception-v3-compat", [layer], str(safe), antialias=False).to(device)
    except (RuntimeError, pickle.UnpicklingError, EOFError, TypeError, AttributeError) as error:
        raise ValueError(f"Expected {path} to hold torch-fidelity's weights, but it holds something else.") from error

    def features(images: Tensor) -> Tensor:
        colored = images.expand(-1, 3, -1, -1).to(device)
        return network(colored).to(images.device)

    return features
