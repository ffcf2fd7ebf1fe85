"""Searches, one file each: samplers that choose among candidates by a reward.

A search implements the protocol `Search`. It draws with the reverse kernel itself (`Particles`, `SVDD`), or calls the
sampler that it is given and chooses among finished samples (`BestOf`). Shared: `candidates`.
"""
