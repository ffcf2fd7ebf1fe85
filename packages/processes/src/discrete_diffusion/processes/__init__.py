"""Corruption processes for discrete diffusion: absorbing, uniform and marginal noise, posteriors, likelihoods."""

from discrete_diffusion.processes.absorbing import Absorbing
from discrete_diffusion.processes.ancestral import Ancestral
from discrete_diffusion.processes.autoregressive import AutoregressiveNLL, CausalNextToken, LatentNextToken, NextToken
from discrete_diffusion.processes.classifier import Classifier, Regressor
from discrete_diffusion.processes.denoiser import LatentDenoiser, NetworkDenoiser
from discrete_diffusion.processes.gibbs import NoisyConditional
from discrete_diffusion.processes.leave_one_out import LeaveOneOutDenoiser
from discrete_diffusion.processes.marginal import Marginal
from discrete_diffusion.processes.objectives import ContinuousNELBO, CrossEntropy, DiscreteNELBO, Objective, Terms
from discrete_diffusion.processes.parameterization import LeaveOneOut, Mean, Parameterization
from discrete_diffusion.processes.predictor_corrector import PredictorCorrector
from discrete_diffusion.processes.process import Process
from discrete_diffusion.processes.protocols import (
    CausalNetwork,
    Denoiser,
    Kernel,
    LatentNetwork,
    Network,
    NetworkTraits,
    Past,
    PrefixNetwork,
    PrefixPast,
    TokenwiseNetwork,
)
from discrete_diffusion.processes.rates import ReverseRates
from discrete_diffusion.processes.raw import RawPrediction
from discrete_diffusion.processes.remasking import Capped, Remasking, RemaskingRate, Rescaled
from discrete_diffusion.processes.step_costs import step_costs
from discrete_diffusion.processes.uniform import Uniform

__all__ = [
    "Absorbing",
    "Ancestral",
    "AutoregressiveNLL",
    "Capped",
    "CausalNetwork",
    "CausalNextToken",
    "Classifier",
    "ContinuousNELBO",
    "CrossEntropy",
    "Denoiser",
    "DiscreteNELBO",
    "Kernel",
    "LatentDenoiser",
    "LatentNetwork",
    "LatentNextToken",
    "LeaveOneOut",
    "LeaveOneOutDenoiser",
    "Marginal",
    "Mean",
    "Network",
    "NetworkDenoiser",
    "NetworkTraits",
    "NextToken",
    "NoisyConditional",
    "Objective",
    "Parameterization",
    "Past",
    "PredictorCorrector",
    "PrefixNetwork",
    "PrefixPast",
    "Process",
    "RawPrediction",
    "Regressor",
    "Remasking",
    "RemaskingRate",
    "Rescaled",
    "ReverseRates",
    "Terms",
    "TokenwiseNetwork",
    "Uniform",
    "step_costs",
]
