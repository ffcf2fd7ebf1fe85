"""Networks for discrete diffusion: token ids, noise level and label to logits."""
