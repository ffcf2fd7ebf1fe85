"""Models of the Hugging Face hub: data alone, never code."""

import re
from pathlib import Path

from huggingface_hub import snapshot_download

from discrete_diffusion.checkpoints.errors import first_line
from discrete_diffusion.checkpoints.folders import locate

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
READ = ("*.json", "*.txt", "*.safetensors")


def fetch(path: str | Path | None) -> Path:
    """Return the folder of a checkpoint, and download it if it is on the hub.

    Args:
        path: The folder, its run, or a name on the hub; None for the newest checkpoint.

    Raises:
        ConnectionError: If it cannot be read from the hub.
    """
    hub = isinstance(path, str | Path) and is_hub_name(path)
    return download(str(path)) if hub else locate(path)


def is_hub_name(path: str | Path) -> bool:
    """Return whether this is OWNER/MODEL and no path: there is neither such a file nor a folder OWNER."""
    return bool(NAME.fullmatch(str(path))) and not Path(path).exists() and not Path(path).parent.exists()


def download(name: str) -> Path:
    """Download a model of the hub and return its folder: descriptions, tokenizer and weights, no Python files.

    Pickled weights (pytorch_model.bin) are downloaded only if there are no others.

    Raises:
        ConnectionError: If it cannot be read.
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
