"""What the configuration may ask of the machine."""

import torch
from omegaconf import OmegaConf


def register() -> None:
    """Make `${device:}` available: cuda where there is one, else cpu."""
    OmegaConf.register_new_resolver("device", device, replace=True)


def device() -> str:
    """The device that a run is placed on unless told otherwise."""
    return "cuda" if torch.cuda.is_available() else "cpu"
