"""Export of checkpoints for transformers."""
