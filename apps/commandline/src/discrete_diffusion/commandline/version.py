"""Versions of a command and of the libraries that its results depend on."""

import platform
from importlib.metadata import distributions, version

PREFIX = "discrete-diffusion-"
LIBRARIES = ("torch", "transformers", "lightning", "rdkit", "hydra-core")


def describe_versions(name: str) -> str:
    """Return the version of a command on the first line, and those of our packages and of libraries below.

    Args:
        name: Name of the command, whose distribution is `discrete-diffusion-NAME`.
    """
    installed = {one.metadata["Name"]: one.version for one in distributions()}
    names = sorted(one for one in installed if one.startswith(PREFIX) and one != PREFIX + name)
    lines = [f"  {one} {installed[one]}" for one in (*names, *(one for one in LIBRARIES if one in installed))]
    return "\n".join([f"{name} {version(PREFIX + name)}", *lines, f"  python {platform.python_version()}"])
