"""Pickled files of CIFAR-10, read without running their code."""

import io
import pickle
from typing import Any

import numpy as np


class _Array:
    """Pickled form of a NumPy array."""

    def __setstate__(self, state: tuple[int, tuple[int, ...], Any, bool, bytes | str]) -> None:
        """Keep the shape, whether columns come first, and the bytes."""
        _, self.shape, _, self.fortran, self.content = state

    def read(self) -> np.ndarray:
        """Return the array, if it is of bytes."""
        content = self.content.encode("latin1") if isinstance(self.content, str) else self.content
        return np.frombuffer(content, np.uint8).reshape(self.shape, order="F" if self.fortran else "C")


class _DType:
    """Pickled form of a NumPy type. All arrays are read as bytes; for another type, `reshape` fails."""

    def __init__(self, *description: Any) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        pass


def _reconstruct(*description: Any) -> _Array:
    return _Array()


_KNOWN = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
}


class _Unpickler(pickle.Unpickler):
    """Unpickler of lists, dictionaries, tuples, strings, numbers and arrays that calls no function of the file."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-ins for arrays.

        Raises:
            UnpicklingError: If the file names any other function or class.
        """
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no array")
        return _KNOWN[module, name]


def read_pickle(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the images, uint8 (n, 3072), and the labels, (n,), of a pickled batch without running its code.

    Raises:
        ValueError: If the content is not such a batch.
    """
    try:
        batch = _Unpickler(io.BytesIO(content), encoding="latin1").load()
        images, labels = batch["data"].read(), np.array(batch["labels"], dtype=np.int64)
    # A pickle that is damaged, or made to do damage, fails in any way that there is.
    except Exception as error:
        raise ValueError(f"no pickled batch of CIFAR-10: {str(error) or type(error).__name__}") from error
    return images, labels
