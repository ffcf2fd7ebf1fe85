"""Guidance and sampling for discrete generative models: functions that wrap the log-probabilities of any model."""

from discrete_diffusion.guidance.autoregressive import autoregressive
from discrete_diffusion.guidance.categorical import sample_categorical
from discrete_diffusion.guidance.classifier_free import ClassifierFree
from discrete_diffusion.guidance.evaluations import CountEvaluations
from discrete_diffusion.guidance.normalize import normalize
from discrete_diffusion.guidance.nucleus import Nucleus
from discrete_diffusion.guidance.protocols import Denoiser, Kernel, Model, evaluate
from discrete_diffusion.guidance.sampling import State, last, sample, trajectory
from discrete_diffusion.guidance.temperature import Temperature

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
