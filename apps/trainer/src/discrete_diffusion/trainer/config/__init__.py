"""Configurations, shipped with the wheel."""
