"""Metrics of generated sequences."""
