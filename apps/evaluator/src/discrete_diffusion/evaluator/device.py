"""Device of a model."""

import torch

from discrete_diffusion.evaluator.ranks import ALONE, Ranks


def choose_device(name: str | None, ranks: Ranks = ALONE) -> torch.device:
    """Return the named device, or by default CUDA if there is one and otherwise the CPU.

    Of several processes on a machine, each takes a CUDA device of its own.

    Raises:
        ValueError: If the device cannot be used.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if ranks.count == 1:
            return torch.device(name)
    if ranks.count > 1 and name.startswith("cuda"):
        if name != "cuda":
            raise ValueError(f"Expected `device=cuda` with several processes, which take one each, got {name}.")
        if ranks.local >= torch.cuda.device_count() > 0:
            raise ValueError(
                f"Expected at most {torch.cuda.device_count()} processes on this machine, one for each CUDA device: "
                "start fewer, or set `device=cpu`."
            )
        if ranks.local:
            name = f"cuda:{ranks.local}"
    try:
        used = torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"The device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    if used.type == "meta":
        raise ValueError(f"The device {name!r} cannot be used: it stores no numbers.")
    if used.type == "cpu" and torch.device(name).index:
        raise ValueError(f"The device {name!r} cannot be used: there is one CPU, `cpu`.")
    return used
