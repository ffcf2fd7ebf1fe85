"""Models of the Hugging Face hub: data alone, never code."""

import re
from pathlib import Path

from huggingface_hub import snapshot_download

from discrete_diffusion.checkpoints.errors import first_line
from discrete_diffusion.checkpoints.folders import locate

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
READ = ("*.json", "*.txt", "*.safetensors")


def fetch(path: str | Path | None) -> Path:
    """The folder of a checkpoint, given itself, its run, or its name on the hub, from where it is then downloaded.

    Without a path it is the newest checkpoint there is.

    Raises:
        ConnectionError: if it cannot be had from the hub.
    """
    hub = isinstance(path, str | Path) and is_hub_name(path)
    return download(str(path)) if hub else locate(path)


def is_hub_name(path: str | Path) -> bool:
    """Say whether this is OWNER/MODEL and no path: there is no such file, and no folder OWNER that it could be in."""
    return bool(NAME.fullmatch(str(path))) and not Path(path).exists() and not Path(path).parent.exists()


def download(name: str) -> Path:
    """The folder that a model of the hub was copied to: descriptions, tokenizer and weights, no Python files.

    Pickled weights (pytorch_model.bin) are fetched only where there are no others.

    Raises:
        ConnectionError: if it cannot be had.
    """
    try:
        folder = Path(snapshot_download(name, allow_patterns=list(READ)))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(name, allow_patterns=[*READ, "pytorch_model*.bin"]))
    except Exception as error:
        # Without a network, an account or the model it fails in as many ways as there are causes.
        reason = first_line(error)
        raise ConnectionError(
            f"{name!r} is no folder here, and no model that can be read from the Hugging Face hub "
            f"({reason.rstrip('.')}): pass the folder of one."
        ) from error
    return folder
