"""Tokenizers, labels and data for discrete generative models, with molecules embedded."""
