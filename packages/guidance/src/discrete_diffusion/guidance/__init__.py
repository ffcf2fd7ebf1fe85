"""Guidance and sampling for discrete generative models: functions that wrap the log-probabilities of any model."""

from .autoregressive import autoregressive
from .categorical import sample_categorical
from .classifier_free import ClassifierFree
from .evaluations import CountEvaluations
from .normalize import normalize
from .nucleus import Nucleus
from .protocols import Denoiser, Kernel, Model, evaluate
from .sampling import State, last, sample, trajectory
from .temperature import Temperature

__all__ = [
    "ClassifierFree",
    "CountEvaluations",
    "Denoiser",
    "Kernel",
    "Model",
    "Nucleus",
    "State",
    "Temperature",
    "autoregressive",
    "evaluate",
    "last",
    "normalize",
    "sample",
    "sample_categorical",
    "trajectory",
]
