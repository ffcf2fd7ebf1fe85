"""Command lines on Hydra, with one line for every error that a user can fix."""

from discrete_diffusion.commandline.errors import report_errors
from discrete_diffusion.commandline.launch import launch
from discrete_diffusion.commandline.version import describe_versions

__all__ = ["describe_versions", "launch", "report_errors"]
