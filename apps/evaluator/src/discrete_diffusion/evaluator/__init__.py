"""Measures generators of discrete data: likelihood, guided generation, sweeps and pictures."""
