"""Guidance methods, one file each.

A method is a frozen dataclass whose first field is the model that it wraps, `base`, and whose `__call__` has the
signature of that model: it evaluates the base, changes the log-probabilities, and normalizes them. Shared by several
methods: `jumps` (classifier guidance of diffusion models) and `left_to_right` (guidance of left-to-right models).
"""
