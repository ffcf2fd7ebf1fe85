"""Samplers, one file each.

A sampler has two parts:

1. A function that yields each `State` of a sampling run, given its model and the tokens to start from, such as
   `trajectory` and `autoregressive`. It draws tokens with `sample_categorical` alone, and takes `y`, `clamp` and
   `generator`, so that a search can call it as a `Rollout`.
2. A frozen dataclass that holds the settings and implements the protocol `Sampler`, such as `AncestralSampler`. It
   wraps the denoiser in the guidance that it is given and starts the run, or the search in its place.

Shared by all samplers: `wrapping`, the order in which guidance is applied, and `clamping`, which holds given tokens in
place.
"""
