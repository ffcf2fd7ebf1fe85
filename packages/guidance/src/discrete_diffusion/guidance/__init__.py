"""Guidance methods and samplers for discrete generative models: functions that wrap the log-probabilities of any model."""
