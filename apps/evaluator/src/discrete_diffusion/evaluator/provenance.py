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
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

PACKAGES = ("torch", "transformers", "rdkit", "discrete-diffusion-evaluator", "discrete-diffusion-guidance")


def provenance(config: DictConfig, folder: Path, device: torch.device) -> dict[str, Any]:
    """Return checkpoint, command, configuration, versions and machine."""
    threads = torch.get_num_threads()
    return {
        "checkpoint": str(folder.resolve()),
        **digests(folder),
        "command": shlex.join(["evaluator", *sys.argv[1:]]),
        "configuration": OmegaConf.to_container(config),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device}, {threads} thread{'s' * (threads > 1)}",
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def digests(folder: Path) -> dict[str, str]:
    """Return the digests that identify a checkpoint: of its weights and of its configuration."""
    return {
        "weights_sha256": _digest(folder / "model.safetensors"),
        "config_sha256": _digest(folder / "config.json"),
    }


def resume_command(folder: Path, directory: Path) -> str:
    """Return the command that resumes an evaluation of the checkpoint in `folder` into `directory`."""
    given = sys.argv[1:]
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        given = list(HydraConfig.get().overrides.task)
    named = any(one.startswith("checkpoint=") for one in given)
    kept = [one for one in given if not one.startswith("output=")]
    pinned = [] if named else [f"checkpoint={folder}"]
    return "uv run evaluator " + shlex.join([*kept, *pinned, f"output={directory}"])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
