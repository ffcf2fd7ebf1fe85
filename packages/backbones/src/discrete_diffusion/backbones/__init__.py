"""Networks for discrete diffusion: token ids, noise level and label to logits, and classifiers beside them."""

from discrete_diffusion.backbones.dimamba import DiMamba
from discrete_diffusion.backbones.dimamba_classifier import DiMambaClassifier
from discrete_diffusion.backbones.dit import DIT_MEDIUM, DIT_SMALL, DIT_TINY, DiT, DiTSize
from discrete_diffusion.backbones.dit_classifier import DiTClassifier
from discrete_diffusion.backbones.hidden_classifier import HiddenClassifier
from discrete_diffusion.backbones.huggingface_causal_lm import HuggingFaceCausalLM
from discrete_diffusion.backbones.huggingface_masked_lm import HuggingFaceMaskedLM
from discrete_diffusion.backbones.pooling import Pooling
from discrete_diffusion.backbones.unet import UNet
from discrete_diffusion.backbones.unet_classifier import UNetClassifier

__all__ = [
    "DIT_MEDIUM",
    "DIT_SMALL",
    "DIT_TINY",
    "DiMamba",
    "DiMambaClassifier",
    "DiT",
    "DiTClassifier",
    "DiTSize",
    "HiddenClassifier",
    "HuggingFaceCausalLM",
    "HuggingFaceMaskedLM",
    "Pooling",
    "UNet",
    "UNetClassifier",
]
