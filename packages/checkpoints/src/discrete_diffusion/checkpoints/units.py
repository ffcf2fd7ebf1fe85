"""What a regressor says, in the units of what it was trained on."""

import math

import torch
from torch import Tensor


def in_units(outputs: Tensor, *, center: float, scale: float) -> Tensor:
    """Mean and log standard deviation (..., 2) of a number, given those of (number - center) / scale."""
    mean, log_std = outputs.unbind(-1)
    return torch.stack([center + scale * mean, log_std + math.log(scale)], -1)
