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
        used = torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"The device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    if used.type == "cpu" and torch.device(name).index:
        raise ValueError(f"The device {name!r} cannot be used: there is one CPU, `cpu`.")
    return used
