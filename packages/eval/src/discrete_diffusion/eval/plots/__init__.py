"""Plots and pictures of generated sequences."""
