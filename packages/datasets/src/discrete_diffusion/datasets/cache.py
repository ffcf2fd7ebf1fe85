"""Cache of files that take long to compute."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

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
        # A file of `tempfile` would be readable by its owner alone, and a cache may be shared.
        partial = path.with_name(f"{path.name}.{uuid4().hex}.partial")
        try:
            write(str(partial))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s is not kept, and will be made again: %s.", path.name, error)
