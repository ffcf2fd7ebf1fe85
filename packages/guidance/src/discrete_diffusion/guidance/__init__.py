"""Guidance and sampling for discrete generative models: functions that wrap the log-probabilities of any model."""

from discrete_diffusion.guidance.allowed import Allowed
from discrete_diffusion.guidance.autoregressive import autoregressive
from discrete_diffusion.guidance.best_of import BestOf
from discrete_diffusion.guidance.categorical import sample_categorical
from discrete_diffusion.guidance.classifier_based import ClassifierBased
from discrete_diffusion.guidance.classifier_free import ClassifierFree
from discrete_diffusion.guidance.evaluations import CountEvaluations
from discrete_diffusion.guidance.first_order import FirstOrder
from discrete_diffusion.guidance.fudge import FUDGE
from discrete_diffusion.guidance.hybrid import Hybrid
from discrete_diffusion.guidance.likelihoods import ClassLikelihood, GaussianAbove, GaussianTarget, Not
from discrete_diffusion.guidance.normalize import normalize
from discrete_diffusion.guidance.nos import NOS
from discrete_diffusion.guidance.nucleus import Nucleus
from discrete_diffusion.guidance.particles import Particles, ParticleState
from discrete_diffusion.guidance.pplm import PPLM
from discrete_diffusion.guidance.protocols import Denoiser, Kernel, LogLikelihood, Model, evaluate, is_left_to_right
from discrete_diffusion.guidance.sampling import State, last, sample, trajectory
from discrete_diffusion.guidance.search import Reward, Search
from discrete_diffusion.guidance.strength import (
    CosineRamp,
    Interval,
    Ramp,
    Strength,
    check_strength,
    strength_at,
    strength_range,
)
from discrete_diffusion.guidance.svdd import SVDD
from discrete_diffusion.guidance.temperature import Temperature
from discrete_diffusion.guidance.top_k import TopK
from discrete_diffusion.guidance.trust_region import TrustRegion

__all__ = [
    "FUDGE",
    "NOS",
    "PPLM",
    "SVDD",
    "Allowed",
    "BestOf",
    "ClassLikelihood",
    "ClassifierBased",
    "ClassifierFree",
    "CosineRamp",
    "CountEvaluations",
    "Denoiser",
    "FirstOrder",
    "GaussianAbove",
    "GaussianTarget",
    "Hybrid",
    "Interval",
    "Kernel",
    "LogLikelihood",
    "Model",
    "Not",
    "Nucleus",
    "ParticleState",
    "Particles",
    "Ramp",
    "Reward",
    "Search",
    "State",
    "Strength",
    "Temperature",
    "TopK",
    "TrustRegion",
    "autoregressive",
    "check_strength",
    "evaluate",
    "is_left_to_right",
    "last",
    "normalize",
    "sample",
    "sample_categorical",
    "strength_at",
    "strength_range",
    "trajectory",
]
