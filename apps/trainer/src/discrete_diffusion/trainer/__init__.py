"""Trains generators of discrete data: autoregressive, masked and uniform diffusion."""
