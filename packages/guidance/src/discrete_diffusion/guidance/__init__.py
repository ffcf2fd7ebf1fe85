"""Guidance and sampling for discrete generative models: functions that wrap the log-probabilities of any model."""

from discrete_diffusion.guidance.constraints import Allowed
from discrete_diffusion.guidance.drawing import sample_categorical
from discrete_diffusion.guidance.evaluations import CountEvaluations
from discrete_diffusion.guidance.likelihoods import (
    ClassLikelihood,
    Complemented,
    GaussianAbove,
    GaussianBetween,
    GaussianTarget,
    Not,
)
from discrete_diffusion.guidance.log_probs import kl_divergence, normalize
from discrete_diffusion.guidance.methods.classifier_based import ClassifierBased
from discrete_diffusion.guidance.methods.classifier_free import ClassifierFree
from discrete_diffusion.guidance.methods.first_order import FirstOrder
from discrete_diffusion.guidance.methods.fudge import FUDGE
from discrete_diffusion.guidance.methods.hybrid import Hybrid
from discrete_diffusion.guidance.methods.nos import NOS
from discrete_diffusion.guidance.methods.pplm import PPLM
from discrete_diffusion.guidance.methods.trust_region import TrustRegion
from discrete_diffusion.guidance.protocols import (
    Causal,
    ConditionalLift,
    Denoiser,
    HasBase,
    Kernel,
    Latent,
    LeftToRight,
    Lift,
    LogLikelihood,
    MaskingNoise,
    Model,
    Noise,
    Past,
    Reward,
    Rollout,
    Sampler,
    ScheduledNoise,
    Search,
    Survival,
    Wrapper,
    evaluate,
    is_left_to_right,
)
from discrete_diffusion.guidance.samplers.ancestral import AncestralSampler, sample, trajectory
from discrete_diffusion.guidance.samplers.autoregressive import AutoregressiveSampler, autoregressive
from discrete_diffusion.guidance.samplers.by_order import (
    EntropyBound,
    HighestConfidence,
    LargestMargin,
    LowestEntropy,
    Order,
    OrderSampler,
    RandomOrder,
    by_order,
    order_log_likelihood,
)
from discrete_diffusion.guidance.samplers.confidence_remasking import ConfidenceRemaskingSampler, confidence_remasking
from discrete_diffusion.guidance.samplers.corrected import GibbsCorrectedSampler, corrected, gibbs_step
from discrete_diffusion.guidance.samplers.diffusion import DiffusionSampler, GuidedModel, KernelGuidanceError, Run
from discrete_diffusion.guidance.samplers.first_hitting import FirstHittingSampler, first_hitting
from discrete_diffusion.guidance.samplers.fitted_times import fitted_times, masked_cross_entropy, masked_step_costs
from discrete_diffusion.guidance.samplers.leaping import (
    LogRates,
    TauLeaping,
    TrapezoidalSampler,
    leaping_kernel,
    trapezoidal,
)
from discrete_diffusion.guidance.samplers.masked_ancestral import MaskedAncestralSampler, masked_ancestral
from discrete_diffusion.guidance.samplers.path_planning import PathPlanningSampler, path_planning
from discrete_diffusion.guidance.samplers.settling import SettlingSampler, SettlingState, settling
from discrete_diffusion.guidance.samplers.times import (
    TimeGrid,
    cosine_times,
    equal_survival_times,
    equal_times,
    log_snr_times,
)
from discrete_diffusion.guidance.samplers.uniformization import UniformizationSampler, uniformization
from discrete_diffusion.guidance.searches.best_of import BestOf
from discrete_diffusion.guidance.searches.particles import Particles, ParticleState
from discrete_diffusion.guidance.searches.svdd import SVDD
from discrete_diffusion.guidance.state import State, last
from discrete_diffusion.guidance.streams import RandomSource, SampleStreams
from discrete_diffusion.guidance.strength import (
    CosineRamp,
    Interval,
    Ramp,
    Strength,
    check_strength,
    strength_at,
    strength_range,
)
from discrete_diffusion.guidance.truncation import MinP, Nucleus, Temperature, TopK

__all__ = [
    "FUDGE",
    "NOS",
    "PPLM",
    "SVDD",
    "Allowed",
    "AncestralSampler",
    "AutoregressiveSampler",
    "BestOf",
    "Causal",
    "ClassLikelihood",
    "ClassifierBased",
    "ClassifierFree",
    "Complemented",
    "ConditionalLift",
    "ConfidenceRemaskingSampler",
    "CosineRamp",
    "CountEvaluations",
    "Denoiser",
    "DiffusionSampler",
    "EntropyBound",
    "FirstHittingSampler",
    "FirstOrder",
    "GaussianAbove",
    "GaussianBetween",
    "GaussianTarget",
    "GibbsCorrectedSampler",
    "GuidedModel",
    "HasBase",
    "HighestConfidence",
    "Hybrid",
    "Interval",
    "Kernel",
    "KernelGuidanceError",
    "LargestMargin",
    "Latent",
    "LeftToRight",
    "Lift",
    "LogLikelihood",
    "LogRates",
    "LowestEntropy",
    "MaskedAncestralSampler",
    "MaskingNoise",
    "MinP",
    "Model",
    "Noise",
    "Not",
    "Nucleus",
    "Order",
    "OrderSampler",
    "ParticleState",
    "Particles",
    "Past",
    "PathPlanningSampler",
    "Ramp",
    "RandomOrder",
    "RandomSource",
    "Reward",
    "Rollout",
    "Run",
    "SampleStreams",
    "Sampler",
    "ScheduledNoise",
    "Search",
    "SettlingSampler",
    "SettlingState",
    "State",
    "Strength",
    "Survival",
    "TauLeaping",
    "Temperature",
    "TimeGrid",
    "TopK",
    "TrapezoidalSampler",
    "TrustRegion",
    "UniformizationSampler",
    "Wrapper",
    "autoregressive",
    "by_order",
    "check_strength",
    "confidence_remasking",
    "corrected",
    "cosine_times",
    "equal_survival_times",
    "equal_times",
    "evaluate",
    "first_hitting",
    "fitted_times",
    "gibbs_step",
    "is_left_to_right",
    "kl_divergence",
    "last",
    "leaping_kernel",
    "log_snr_times",
    "masked_ancestral",
    "masked_cross_entropy",
    "masked_step_costs",
    "normalize",
    "order_log_likelihood",
    "path_planning",
    "sample",
    "sample_categorical",
    "settling",
    "strength_at",
    "strength_range",
    "trajectory",
    "trapezoidal",
    "uniformization",
]
