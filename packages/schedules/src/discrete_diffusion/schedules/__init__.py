"""Noise schedules for discrete diffusion: survival, its derivative, its inverse, and the times they are used at."""
