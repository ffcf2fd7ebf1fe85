"""Cache of files that take long to compute."""

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path

CACHE_VARIABLE = "DISCRETE_DIFFUSION_CACHE"

logger = logging.getLogger(__name__)


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return `cache_dir`, else the environment variable DISCRETE_DIFFUSION_CACHE, else the user's cache folder."""
    return Path(cache_dir or os.environ.get(CACHE_VARIABLE) or user_cache_path("discrete-diffusion")).expanduser()


def keep(path: Path, write: Callable[[str], None]) -> None:
    """Write a file as a whole or not at all; log a failure and continue.

    A rename is atomic: another process sees no file or a whole one, and the last of two writers has the same content.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".partial")
        os.close(handle)
        try:
            write(partial)
            Path(partial).replace(path)
        finally:
            Path(partial).unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s is not kept, and will be made again: %s.", path.name, error)
