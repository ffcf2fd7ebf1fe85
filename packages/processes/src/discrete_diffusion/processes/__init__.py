"""Corruption processes for discrete diffusion: absorbing, uniform and marginal noise, posteriors, likelihoods."""

from discrete_diffusion.processes.absorbing import Absorbing
from discrete_diffusion.processes.ancestral import Ancestral
from discrete_diffusion.processes.autoregressive_nll import AutoregressiveNLL
from discrete_diffusion.processes.classifier import Classifier, Regressor
from discrete_diffusion.processes.continuous_nelbo import ContinuousNELBO
from discrete_diffusion.processes.cross_entropy import CrossEntropy
from discrete_diffusion.processes.denoiser import NetworkDenoiser
from discrete_diffusion.processes.discrete_nelbo import DiscreteNELBO
from discrete_diffusion.processes.gibbs import NoisyConditional
from discrete_diffusion.processes.marginal import Marginal
from discrete_diffusion.processes.next_token import NextToken
from discrete_diffusion.processes.objective import Objective, Terms
from discrete_diffusion.processes.parameterization import LeaveOneOut, Mean, Parameterization
from discrete_diffusion.processes.predictor_corrector import PredictorCorrector
from discrete_diffusion.processes.process import Process
from discrete_diffusion.processes.rates import ReverseRates
from discrete_diffusion.processes.remasking import Capped, Remasking, RemaskingRate, Rescaled
from discrete_diffusion.processes.uniform import Uniform

__all__ = [
    "Absorbing",
    "Ancestral",
    "AutoregressiveNLL",
    "Capped",
    "Classifier",
    "ContinuousNELBO",
    "CrossEntropy",
    "DiscreteNELBO",
    "LeaveOneOut",
    "Marginal",
    "Mean",
    "NetworkDenoiser",
    "NextToken",
    "NoisyConditional",
    "Objective",
    "Parameterization",
    "PredictorCorrector",
    "Process",
    "Regressor",
    "Remasking",
    "RemaskingRate",
    "Rescaled",
    "ReverseRates",
    "Terms",
    "Uniform",
]
