"""Noise schedules for discrete diffusion, and times for training and sampling."""

from discrete_diffusion.schedules.cosine import Cosine
from discrete_diffusion.schedules.cosine_squared import CosineSquared
from discrete_diffusion.schedules.geometric import Geometric
from discrete_diffusion.schedules.linear import Linear
from discrete_diffusion.schedules.log_linear import LogLinear
from discrete_diffusion.schedules.polynomial import Polynomial
from discrete_diffusion.schedules.rows import BatchGenerator, RowGenerators, draw_rows
from discrete_diffusion.schedules.schedule import Schedule
from discrete_diffusion.schedules.times import (
    DiscreteTimes,
    IndependentTimes,
    LowDiscrepancyTimes,
    StratifiedTimes,
    survival_grid,
    uniform_grid,
)

__all__ = [
    "BatchGenerator",
    "Cosine",
    "CosineSquared",
    "DiscreteTimes",
    "Geometric",
    "IndependentTimes",
    "Linear",
    "LogLinear",
    "LowDiscrepancyTimes",
    "Polynomial",
    "RowGenerators",
    "Schedule",
    "StratifiedTimes",
    "draw_rows",
    "survival_grid",
    "uniform_grid",
]
