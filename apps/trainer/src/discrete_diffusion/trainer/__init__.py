"""Training of generators of discrete data and of classifiers for guidance."""
