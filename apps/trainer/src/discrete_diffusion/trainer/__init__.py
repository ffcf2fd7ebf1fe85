"""Trains generators of discrete data, and classifiers to steer them by."""
