"""Domains, one file each: everything in an evaluation that depends on the kind of data."""
