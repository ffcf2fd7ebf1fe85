"""Metrics and pictures for generated token sequences."""
