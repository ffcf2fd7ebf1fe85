"""DNA and its measurements in HDF5 files."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

ENDINGS = (".h5", ".hdf5")
_LETTERS = np.array(list("ACGTN"))
_AT_ONCE = 16_384
"""Sequences whose one-hot codes are in memory at once."""


def split_array(path: Path) -> tuple[Path, str | None] | None:
    """Return file and array of a path such as `data.h5/X_train`; None if it is not in an HDF5 file."""
    if path.suffix.lower() in ENDINGS and path.is_file():
        return path, None
    for parent in path.parents:
        if parent.suffix.lower() in ENDINGS and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return None


def read_hdf5(file: Path, array: str | None) -> pa.Table:
    """Return one-hot DNA of an HDF5 file as strings in a column `sequence`, with the other arrays as columns.

    One-hot codes have the shape (rows, length, 4) or (rows, 4, length) and the order A, C, G, T; a position without a
    single 1 is N. Numbers of shape (rows,) are a column, those of shape (rows, k) are k columns `NAME_1`, `NAME_2` and
    so on. Arrays of a split, such as `X_train` and `Y_train`, go together, and their columns leave the split out.

    Args:
        file: File.
        array: One-hot array, if the file has several.

    Raises:
        ValueError: If there is no one-hot array, several and none is named, or none of this name.
        ImportError: If h5py is not installed.
    """
    if importlib.util.find_spec("h5py") is None:
        raise ImportError("HDF5 files need h5py: install `discrete-diffusion-datasets[hdf5]`.")
    import h5py

    with h5py.File(file) as content:
        arrays: dict[str, Any] = {}
        content.visititems(lambda name, one: arrays.update({name: one}) if isinstance(one, h5py.Dataset) else None)
        codes = [name for name, one in arrays.items() if one.ndim == 3 and 4 in one.shape[1:]]
        if array is None and len(codes) == 1:
            array = codes[0]
        if array not in codes:
            found = ", ".join(codes) or "none"
            hint = f": name one as {file.name}/{codes[0]}" if codes else ""
            raise ValueError(f"expected one array of one-hot DNA, (rows, length, 4), got {found}{hint}")
        split = _split(array)
        columns: dict[str, Any] = {"sequence": _strings(arrays[array])}
        for name, one in arrays.items():
            rows_match = one.ndim in (1, 2) and one.shape[0] == arrays[array].shape[0]
            if name not in codes and rows_match and _split(name) in (split, ""):
                columns |= _columns(name.removesuffix(split).replace("/", "_"), one[()])
    return pa.table(columns)


def _split(name: str) -> str:
    found = re.search(r"_(?:train|training|valid|validation|val|test)$", name, re.IGNORECASE)
    return found.group() if found else ""


def _strings(codes: Any) -> pa.Array:
    axis = 2 if codes.shape[2] == 4 else 1
    found: list[str] = []
    for start in range(0, codes.shape[0], _AT_ONCE):
        part = np.moveaxis(np.asarray(codes[start : start + _AT_ONCE]), axis, 2)
        one_hot = ((part == 1).sum(2) == 1) & ((part == 0).sum(2) == 3)
        letters = _LETTERS[np.where(one_hot, part.argmax(2), 4)]
        found += ["".join(row) for row in letters]
    return pa.array(found, pa.string())


def _columns(name: str, values: np.ndarray) -> dict[str, Any]:
    if values.dtype.kind in "SO":
        values = np.vectorize(lambda one: one.decode() if isinstance(one, bytes) else str(one), otypes=[object])(values)
    if values.ndim == 1:
        return {name: pa.array(values)}
    return {f"{name}_{i}": pa.array(column) for i, column in enumerate(values.T, 1)}
