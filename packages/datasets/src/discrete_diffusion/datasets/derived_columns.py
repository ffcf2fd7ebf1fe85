"""Columns that are computed from strings, once."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from tqdm import tqdm

from discrete_diffusion.datasets.cache import cache_folder, keep

WORTH_KEEPING = 50_000
"""Strings; what is computed of fewer is made again in seconds."""

logger = logging.getLogger(__name__)


def derived_columns(
    strings: Sequence[str], function: Callable[[str], Mapping[str, Any]], *, name: str, version: str
) -> pa.Table:
    """Computes a row of columns for each string, in order.

    Of many strings they are kept in the cache folder, under a fingerprint of the strings and of `version`.

    Args:
        name: of what is computed, as a progress bar and the file say it.
        version: whatever changes `function`: its options, the library that computes.
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
