"""Networks for discrete diffusion: token ids, noise level and label to logits."""

from discrete_diffusion.backbones.dit import DIT_MEDIUM, DIT_SMALL, DIT_TINY, DiT, DiTSize

__all__ = ["DIT_MEDIUM", "DIT_SMALL", "DIT_TINY", "DiT", "DiTSize"]
