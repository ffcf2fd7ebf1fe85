"""Provenance of results."""

import hashlib
import platform
import shlex
import sys
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

PACKAGES = ("torch", "transformers", "rdkit", "discrete-diffusion-evaluator", "discrete-diffusion-guidance")


def provenance(config: DictConfig, folder: Path, device: torch.device) -> dict[str, Any]:
    """Return checkpoint, command, configuration, versions and machine."""
    return {
        "checkpoint": str(folder.resolve()),
        "weights_sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "command": shlex.join(["evaluator", *sys.argv[1:]]),
        "configuration": OmegaConf.to_container(config),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device}, {torch.get_num_threads()} threads",
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
