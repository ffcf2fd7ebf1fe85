"""Default images: handwritten digits."""

import importlib.util

import numpy as np

import datasets
from discrete_diffusion.datasets.pixel_rows import pixel_rows


def digits() -> datasets.Dataset:
    """Return the 1,797 handwritten digits of scikit-learn: `pixels`, 64 levels from 0 to 16, and `digit`, "0" to "9".

    Images of 8 rows of 8 pixels, 16 being ink: the test set of Alpaydin and Kaynak, Optical Recognition of Handwritten
    Digits, UCI Machine Learning Repository (1998), which scikit-learn ships. They stand in for CIFAR-10 without a
    network connection.

    Raises:
        ImportError: If scikit-learn is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise ImportError("`digits` are a part of scikit-learn: install `discrete-diffusion-datasets[images]`.")
    from sklearn.datasets import load_digits

    loaded = load_digits()
    return pixel_rows(loaded.images[..., None].astype(np.uint8), digit=[str(digit) for digit in loaded.target])
