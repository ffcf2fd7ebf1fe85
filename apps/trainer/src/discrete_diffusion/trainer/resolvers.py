"""Resolvers of the configuration for device and run names."""

import re
from pathlib import Path

from omegaconf import OmegaConf

from discrete_diffusion.checkpoints import locate
from discrete_diffusion.trainer.run_folder import run_of, settings_of


def register() -> None:
    """Make `${device:}`, `${run_name:PATH}` and `${resumed_name:PATH,NAME}` available."""
    for resolver in (device, run_name, resumed_name):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)


def device() -> str:
    """Return the default device."""
    # torch takes a second to import, and --help or a typo should not wait for it.
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def run_name(path: str | Path | None) -> str:
    """Return the run name of a checkpoint: NAME in outputs/NAME/DATE_TIME, or "generator" if it is unknown."""
    try:
        folder = locate(path).resolve()
    except FileNotFoundError:
        return "generator"
    return (folder.parent.parent if folder.name == "checkpoint" else folder.parent).name or "generator"


def resumed_name(path: str | None, name: str) -> str:
    """Return the name of the resumed run, given its folder or checkpoint; `name` if it has none fit for a folder."""
    settings = None if path is None else settings_of(run_of(path))
    if settings is None or not settings.is_file():
        return name
    # The file may be a stranger's, and the name becomes a part of a path.
    config = OmegaConf.to_container(OmegaConf.load(settings), resolve=False)
    found = config.get("name") if isinstance(config, dict) else None
    return found if isinstance(found, str) and re.fullmatch(r"\w[\w.-]*", found) else name
