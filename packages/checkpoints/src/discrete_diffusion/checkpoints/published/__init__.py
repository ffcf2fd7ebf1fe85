"""Checkpoints of the published code of UDLM and MDLM, read without running any of it."""
