"""Cached columns that are computed from strings."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from tqdm import tqdm

from discrete_diffusion.datasets.cache import cache_folder, keep

WORTH_KEEPING = 10_000
"""Least number of strings whose columns are cached: fewer take seconds."""

logger = logging.getLogger(__name__)


def derived_columns(
    strings: Sequence[str], function: Callable[[str], Mapping[str, Any]], *, name: str, version: str
) -> pa.Table:
    """Compute a row of columns for each string, in order.

    Columns of many strings are kept in the cache folder, under a fingerprint of the strings and of `version`.

    Args:
        strings: Strings.
        function: Function from a string to its columns.
        name: Name of the computation, for the progress bar and the file.
        version: Everything that changes `function`, such as its options and the version of its library.
    """
    if len(strings) < WORTH_KEEPING:
        return _compute(strings, function, name)
    digest = hashlib.sha256(repr((name, version)).encode())
    for string in strings:
        digest.update(f"{len(string)} {string}".encode())
    path = cache_folder() / f"{name.replace(' ', '-')}-{digest.hexdigest()[:24]}.parquet"
    rows = _read(path, len(strings))
    if rows is None:
        rows = _compute(strings, function, name)
        keep(path, lambda partial: pa.parquet.write_table(rows, partial))
    return rows


def _compute(strings: Sequence[str], function: Callable[[str], Mapping[str, Any]], name: str) -> pa.Table:
    shown = None if len(strings) >= WORTH_KEEPING else True
    return pa.Table.from_pylist([dict(function(one)) for one in tqdm(strings, desc=name.capitalize(), disable=shown)])


def _read(path: Path, size: int) -> pa.Table | None:
    if not path.exists():
        return None
    try:
        rows = pa.parquet.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        logger.warning("Computing again: %s cannot be read (%s).", path, error)
        return None
    return rows if rows.num_rows == size else None
