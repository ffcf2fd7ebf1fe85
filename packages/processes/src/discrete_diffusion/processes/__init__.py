"""Corruption processes for discrete diffusion: absorbing, uniform and marginal noise, their posteriors and likelihood bounds."""
