"""Networks for discrete diffusion: token ids, noise level and label to logits, and classifiers beside them."""

from discrete_diffusion.backbones.dit import DIT_MEDIUM, DIT_SMALL, DIT_TINY, DiT, DiTSize
from discrete_diffusion.backbones.dit_classifier import DiTClassifier
from discrete_diffusion.backbones.hidden_classifier import HiddenClassifier
from discrete_diffusion.backbones.pooling import Pooling

__all__ = ["DIT_MEDIUM", "DIT_SMALL", "DIT_TINY", "DiT", "DiTClassifier", "DiTSize", "HiddenClassifier", "Pooling"]
