"""Features of images for Fréchet distances and Inception Scores."""

import importlib.util
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from scipy.sparse.linalg import svds
from torch import Tensor

from discrete_diffusion.eval.metrics.image_distances import ImageFeatures


class PixelComponents:
    """Leading principal components of the pixels: features that need no network.

        f(x) = W (x / 255 - μ),    rows of W = leading eigenvectors of the covariance of the fitted images

    A Fréchet distance of these features compares means, contrasts and coarse shapes. It says nothing of the content of
    images and is not comparable with an Inception distance.

    Args:
        images: At least 3 images to fit.
        components: Maximum number of components.

    Raises:
        ValueError: If there are fewer than 3 images, or `components` < 1.
    """

    def __init__(self, images: UInt8[Tensor, "n c h w"], components: int = 32) -> None:
        if len(images) < 3:
            raise ValueError(f"Expected at least 3 images, got {len(images)}.")
        if components < 1:
            raise ValueError(f"Expected `components` >= 1, got {components}.")
        pixels = images.flatten(1).cpu().numpy().astype(np.float32) / 255
        self.mean = pixels.mean(0)
        start = np.random.default_rng(0).standard_normal(min(pixels.shape)).astype(np.float32)
        _, _, rows = svds(pixels - self.mean, k=min(components, min(pixels.shape) - 1), v0=start)
        self.rows = rows.astype(np.float32)

    def __call__(self, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n components"]:
        """Return the components of each image."""
        pixels = images.flatten(1).float() / 255 - torch.as_tensor(self.mean, device=images.device)
        return pixels @ torch.as_tensor(self.rows, device=images.device).T


def classifier_features(
    network: Callable[[Int[Tensor, "n l"], Float[Tensor, " n"]], Float[Tensor, "n d"]],
    levels: int,
    *,
    device: str | torch.device = "cpu",
) -> ImageFeatures:
    """Return the outputs of a token classifier as features of images.

    Its logits serve an Inception Score, its hidden states a Fréchet distance.

    Args:
        network: Function from the tokens of clean images (channels last) and their noise level 0 to features.
        levels: Number of levels of a pixel; the first is the value 0, the last 255.
        device: Device of the network.
    """

    def features(images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        x = (images.double() * (levels - 1) / 255).round().long().to(device)
        return network(x.permute(0, 2, 3, 1).flatten(1), torch.zeros(len(x), device=device)).to(images.device)

    return features


def inception_features(
    weights: str | os.PathLike[str], layer: str = "2048", *, device: str | torch.device = "cpu"
) -> ImageFeatures:
    """Return features of the Inception network of published distances, with weights from a local file.

    The network comes from torch-fidelity, which must be installed. Images of one channel are repeated over three, and
    all images are enlarged to 299 x 299 as in TensorFlow.

    Args:
        weights: File weights-inception-2015-12-05-6726825d.pth of torch-fidelity.
        layer: "2048" (or "64", "192", "768") for a Fréchet distance, "logits_unbiased" for an Inception Score.
        device: Device of the network.

    Raises:
        ImportError: If torch-fidelity is not installed.
        FileNotFoundError: If the file does not exist.
        ValueError: If the layer does not exist, or the file holds something else.
    """
    layers = ("64", "192", "768", "2048", "logits_unbiased")
    if layer not in layers:
        raise ValueError(f"Expected `layer` to be one of {', '.join(layers)}, got {layer!r}.")
    if importlib.util.find_spec("torch_fidelity") is None:
        raise ImportError("`inception_features` needs torch-fidelity: `pip install torch-fidelity`.")
    path = Path(weights).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"Expected the weights of Inception, but {path} does not exist.")
    from torchmetrics.image.fid import NoTrainInceptionV3

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        # torch-fidelity would unpickle the file and run its code, so pass it a file of the tensors alone.
        with TemporaryDirectory() as folder:
            safe = Path(folder) / path.name
            torch.save(state, safe)
            network = NoTrainInceptionV3("inception-v3-compat", [layer], str(safe), antialias=False).to(device)
    except (RuntimeError, pickle.UnpicklingError, EOFError, TypeError, AttributeError) as error:
        raise ValueError(f"Expected weights of torch-fidelity in {path}, but it holds something else.") from error

    def features(images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        colored = images.expand(-1, 3, -1, -1).to(device)
        return network(colored).to(images.device)

    return features
