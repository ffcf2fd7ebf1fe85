"""What the configuration may ask of the machine."""

import torch
from omegaconf import OmegaConf

from discrete_diffusion.trainer.folders import run_name


def register() -> None:
    """Make `${device:}` (cuda where there is one, else cpu) and `${run_name:PATH}` (of a generator) available."""
    OmegaConf.register_new_resolver("device", device, replace=True)
    OmegaConf.register_new_resolver("run_name", run_name, replace=True)


def device() -> str:
    """The device that a run is placed on unless told otherwise."""
    return "cuda" if torch.cuda.is_available() else "cpu"
