"""Command lines on Hydra, with one line for every error that a user can fix."""

from discrete_diffusion.commandline.errors import report_errors
from discrete_diffusion.commandline.launch import launch

__all__ = ["launch", "report_errors"]
