"""A checkpoint as a folder that transformers loads without our packages."""
