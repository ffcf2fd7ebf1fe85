"""What the configuration may ask of the machine."""

from pathlib import Path

import torch
from omegaconf import OmegaConf

from discrete_diffusion.checkpoints import locate


def register() -> None:
    """Make `${device:}` (cuda where there is one, else cpu) and `${run_name:PATH}` (of a generator) available."""
    OmegaConf.register_new_resolver("device", device, replace=True)
    OmegaConf.register_new_resolver("run_name", run_name, replace=True)


def device() -> str:
    """The device that a run is placed on unless told otherwise."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def run_name(path: str | Path | None) -> str:
    """What the run of a checkpoint is called: NAME in outputs/NAME/DATE_TIME; "generator" where there is no telling."""
    try:
        folder = locate(path).resolve()
    except FileNotFoundError:
        return "generator"
    return (folder.parent.parent if folder.name == "checkpoint" else folder.parent).name or "generator"
