"""Device of a model."""

import torch


def choose_device(name: str | None) -> torch.device:
    """Return the named device, or by default CUDA if there is one and otherwise the CPU.

    Raises:
        ValueError: If the device cannot be used.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"Expected a device such as cpu or cuda:0, got {name!r}.") from error
    if device.type == "cpu" and device.index:
        raise ValueError(f"Expected the device cpu, of which there is one, got {name!r}.")
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"The device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
