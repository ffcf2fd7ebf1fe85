"""CIFAR-10: 32 x 32 color photographs of ten classes."""

import os
import tarfile
from pathlib import Path

import numpy as np

import datasets
from discrete_diffusion.datasets.cifar10_pickle import read_pickle
from discrete_diffusion.datasets.hub import from_hub
from discrete_diffusion.datasets.pixel_rows import pixel_rows

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)

_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
_FOLDERS = ("", "cifar-10-batches-bin", "cifar-10-batches-py")
_EXPECTED = "cifar-10-binary.tar.gz, cifar-10-python.tar.gz or a folder of their files"

Part = tuple[np.ndarray, np.ndarray]
"""Images (n, 3072), each channel as a whole, and labels (n,)."""


def cifar10(path: str | os.PathLike[str] | None = None, *, name: str = "uoft-cs/cifar10") -> datasets.DatasetDict:
    """Return CIFAR-10, `train` its 50,000 training images and `validation` its 10,000 test images.

    The images of Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009), with the columns `pixels`,
    3,072 levels from 0 to 255 as `pixel_rows` orders them (row, column, channel), and `class`, such as "airplane".

    Args:
        path: `cifar-10-binary.tar.gz`, `cifar-10-python.tar.gz` or a folder with the files of either; by default the
            hub is read. Pickles are read without running their code.
        name: Data set of the Hugging Face hub.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it has other content.
        UnreachableDataError: If there is no `path` and the hub cannot be reached.
    """
    if path is None:
        return _from_hub(name)
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"Expected {_EXPECTED}, but {path} does not exist.")
    files = _files(path)
    suffix = ".bin" if _BATCHES[0] + ".bin" in files else ""
    missing = [one + suffix for one in (*_BATCHES, "test_batch") if one + suffix not in files]
    if missing:
        raise ValueError(f"Expected {_EXPECTED}, but {path} has no {', '.join(missing)}.")
    parts = {one: _part(files[one + suffix], suffix, f"{one}{suffix} of {path}") for one in (*_BATCHES, "test_batch")}
    images, labels = zip(*(parts[one] for one in _BATCHES), strict=True)
    train = np.concatenate(images), np.concatenate(labels)
    return datasets.DatasetDict(train=_rows(*train), validation=_rows(*parts["test_batch"]))


def _files(path: Path) -> dict[str, bytes]:
    """Return the content of every batch, by its name.

    Raises:
        ValueError: If the file is no archive.
    """
    names = {one + suffix for one in (*_BATCHES, "test_batch") for suffix in ("", ".bin")}
    if path.is_dir():
        within = [path / folder / one for folder in _FOLDERS for one in names]
        return {one.name: one.read_bytes() for one in within if one.is_file()}
    try:
        with tarfile.open(path) as archive:
            members = [one for one in archive if one.isfile() and Path(one.name).name in names]
            return {Path(one.name).name: archive.extractfile(one).read() for one in members}  # type: ignore[union-attr]
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"Expected {_EXPECTED}, but {path} cannot be read: {error}.") from error


def _part(content: bytes, suffix: str, where: str) -> Part:
    size = int(np.prod(SHAPE))
    try:
        if suffix:
            records = np.frombuffer(content, np.uint8).reshape(-1, 1 + size)
            images, labels = records[:, 1:], records[:, 0].astype(np.int64)
        else:
            images, labels = read_pickle(content)
        if images.shape != (len(labels), size) or not len(labels):
            raise ValueError(f"expected images of {size} bytes and their labels")
        if not 0 <= labels.min() <= labels.max() < len(CLASSES):
            raise ValueError(f"expected labels from 0 to {len(CLASSES) - 1}")
    except ValueError as error:
        raise ValueError(f"{where} cannot be read: {error}.") from error
    return images, labels


def _rows(images: np.ndarray, labels: np.ndarray) -> datasets.Dataset:
    channels_last = images.reshape(-1, *SHAPE).transpose(0, 2, 3, 1)
    return pixel_rows(channels_last, **{"class": [CLASSES[label] for label in labels.tolist()]})


def _from_hub(name: str) -> datasets.DatasetDict:
    parts = from_hub(name, _EXPECTED)
    return datasets.DatasetDict(train=_decoded(parts["train"]), validation=_decoded(parts["test"]))


def _decoded(rows: datasets.Dataset) -> datasets.Dataset:
    """Return rows of pixels for rows with pictures in `img` and class numbers in `label`."""
    images = np.stack([np.asarray(picture.convert("RGB")) for picture in rows["img"]])
    return pixel_rows(images, **{"class": [CLASSES[label] for label in rows["label"]]})
